// The protocol, where nothing can be locked:
//
// 1. The file names its holder (save id, host, process) and a number, which the
//    holder counts up every beat: a new file renamed over the old one.
// 2. Who creates it exclusively has the lease.
// 3. Who finds one watches it by the own clock (two hosts' clocks say nothing
//    about each other): if it changes, the holder lives; if it stands still for
//    three beats, the holder is dead and its lease is replaced by rename.
// 4. Two that do 3. at the same time both rename, and the later one wins: so
//    both wait one more beat, and the one whose content is still there has it.
// 5. A holder that was stopped for long (SIGSTOP, a hung mount) may have lost
//    the lease without knowing: held() reads the file before the commit.

#include "storage/lease.h"

#include <utility>

#include "base/guarded.h"
#include "base/printable.h"
#include "base/process_name.h"
#include "format/file_names.h"

namespace dcp {
namespace {

constexpr int64_t kMaxLeaseNbytes = 4096;
constexpr int kBeatsToDie = 3;
constexpr int kLooksPerBeat = 50;
constexpr Clock::Duration kLook = kLeaseBeat / kLooksPerBeat;

Status Busy(const std::string& path, std::string_view content) {
  return MakeStatus(absl::StatusCode::kAborted,
                    path + " is held by " + LeaseHolder(content));
}

}  // namespace

std::string LeaseHolder(std::string_view content) {
  const size_t begin = content.find('\n');
  if (begin == content.npos) return "somebody else";
  const size_t end = content.find('\n', begin + 1);
  return Printable(content.substr(begin + 1, end - begin - 1));
}

Lease::Lease(std::shared_ptr<FileSystem> fs, std::shared_ptr<Clock> clock,
             std::string path, std::string save_id)
    : fs_(std::move(fs)),
      clock_(std::move(clock)),
      path_(std::move(path)),
      save_id_(std::move(save_id)),
      owner_(ProcessName()) {}

StatusOr<std::unique_ptr<Lease>> Lease::Take(std::shared_ptr<FileSystem> fs,
                                             std::shared_ptr<Clock> clock,
                                             const std::string& path,
                                             const std::string& save_id) {
  std::unique_ptr<Lease> lease(
      new Lease(std::move(fs), std::move(clock), path, save_id));
  Status created =
      WriteFile(*lease->fs_, path, lease->Content(0), SyncMode::kNone);
  while (created.code() == absl::StatusCode::kAlreadyExists) {
    DCP_ASSIGN_OR_RETURN(const bool taken, lease->TakeOver());
    if (taken) {
      lease->was_abandoned_ = true;
      created = absl::OkStatus();
    } else {
      created =
          WriteFile(*lease->fs_, path, lease->Content(0), SyncMode::kNone);
    }
  }
  DCP_RETURN_IF_ERROR(created);
  lease->renewed_ns_ = lease->clock_->Now().time_since_epoch().count();
  lease->thread_ = std::thread([raw = lease.get()] { raw->Beat(); });
  return lease;
}

Lease::~Lease() {
  if (fork_guard_.in_child()) {
    ForgetThread(thread_);
    return;  // the file is the parent's
  }
  if (!thread_.joinable()) return;  // never had it
  stops_ = true;
  thread_.join();
  if (IsMine()) fs_->Remove(path_).IgnoreError();
}

/// False: the lease went while we watched, and whoever creates it has it.
StatusOr<bool> Lease::TakeOver() {
  auto first = ReadFile(*fs_, path_, kMaxLeaseNbytes, {});
  if (first.status().code() == absl::StatusCode::kNotFound) return false;
  DCP_RETURN_IF_ERROR(first.status());
  for (int i = 0; i < kBeatsToDie * kLooksPerBeat; ++i) {
    clock_->SleepFor(kLook);
    const auto now = ReadFile(*fs_, path_, kMaxLeaseNbytes, {});
    if (now.status().code() == absl::StatusCode::kNotFound) return false;
    DCP_RETURN_IF_ERROR(now.status());
    if (*now != *first) return Busy(path_, *now);
  }
  DCP_RETURN_IF_ERROR(Put(0));
  clock_->SleepFor(kLeaseBeat);
  DCP_ASSIGN_OR_RETURN(const std::string winner,
                       ReadFile(*fs_, path_, kMaxLeaseNbytes, {}));
  if (winner != Content(0)) return Busy(path_, winner);
  return true;
}

std::string Lease::Content(int64_t count) const {
  return "dcpcpp lease 1\nsave " + save_id_ + ", " + owner_ + "\n" +
         std::to_string(count) + "\n";
}

std::string Lease::TemporaryPath() const {
  const size_t slash = path_.rfind('/');
  const std::string directory =
      slash == path_.npos ? "" : path_.substr(0, slash + 1);
  return directory + TemporaryLeaseName(save_id_);
}

Status Lease::Put(int64_t count) {
  const std::string temporary = TemporaryPath();
  DCP_RETURN_IF_ERROR(
      WriteFile(*fs_, temporary, Content(count), SyncMode::kNone));
  const Status renamed = fs_->Rename(temporary, path_);
  if (!renamed.ok()) fs_->Remove(temporary).IgnoreError();
  return renamed;
}

bool Lease::IsMine() {
  const auto content = ReadFile(*fs_, path_, kMaxLeaseNbytes, {});
  const std::string mine = Content(0);
  const size_t counter = mine.rfind("\n0");
  return content.ok() && content->substr(0, counter) == mine.substr(0, counter);
}

bool Lease::held() {
  const Clock::Duration age =
      clock_->Now().time_since_epoch() - Clock::Duration(renewed_ns_.load());
  return age < kBeatsToDie * kLeaseBeat && IsMine();
}

void Lease::Beat() {
  for (int64_t count = 1; !stops_; ++count) {
    for (int i = 0; i < kLooksPerBeat && !stops_; ++i) clock_->SleepFor(kLook);
    if (stops_) return;
    const Clock::TimePoint now = clock_->Now();
    // A beat that fails is made up for by the next one; held() sees if not.
    const Status beat = Guarded(
        [&] { return IsMine() ? Put(count) : NotFound("another's lease"); });
    if (beat.ok()) renewed_ns_ = now.time_since_epoch().count();
  }
}

}  // namespace dcp
