#include "storage/pool_taking.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <tuple>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/guarded.h"
#include "base/mutex.h"
#include "base/round_up.h"
#include "staging/proceed.h"
#include "staging/threads.h"

namespace dcp {

/// The extents of one call, by file of the pool.
class PoolTaking::Batch {
 public:
  Batch(const PoolDivision& division, std::span<const FilePart> files)
      : division_(division) {
    for (const FilePart& part : files) {
      const auto file = std::lower_bound(
          division.files.begin(), division.files.end(), part.name,
          [](const PoolFile& a, std::string_view name) {
            return a.name < name;
          });
      if (file == division.files.end() || file->name != part.name) continue;
      Add(static_cast<size_t>(file - division.files.begin()), *part.reads);
    }
  }

  /// Hands the extents what they want of `piece`. From several threads.
  Status Deliver(const PoolPiece& piece, std::span<const std::byte> bytes) {
    const auto found = files_.find(piece.file);
    if (found == files_.end()) return absl::OkStatus();
    const std::vector<Extent>& extents = found->second.reads->extents;
    const std::vector<int64_t>& ends = found->second.ends;
    auto i = static_cast<size_t>(
        std::upper_bound(ends.begin(), ends.end(), piece.begin) - ends.begin());
    for (; i < extents.size() && extents[i].begin < piece.end; ++i) {
      const FileRange part = PartOf(extents[i], piece);
      if (part.begin >= part.end) continue;
      DCP_RETURN_IF_ERROR(extents[i].sink->Write(
          part.begin,
          bytes.subspan(static_cast<size_t>(part.begin - piece.begin),
                        static_cast<size_t>(part.end - part.begin))));
    }
    return absl::OkStatus();
  }

  /// Takes what `taken` (in order) brought out of the extents.
  void Remove(std::span<const PoolPiece* const> taken) {
    for (auto& [number, file] : files_) {
      const auto first = std::lower_bound(
          taken.begin(), taken.end(), number,
          [](const PoolPiece* a, size_t f) { return a->file < f; });
      const auto last = std::lower_bound(
          first, taken.end(), number + 1,
          [](const PoolPiece* a, size_t f) { return a->file < f; });
      std::vector<Extent> left;
      for (const Extent& extent : file.reads->extents) {
        AddRest(extent, {first, last}, &left);
      }
      file.reads->extents = std::move(left);
    }
  }

 private:
  struct File {
    FileExtents* reads = nullptr;  // sorted
    std::vector<int64_t> ends;     // the largest up to each extent
  };

  void Add(size_t number, FileExtents& reads) {
    std::sort(
        reads.extents.begin(), reads.extents.end(),
        [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
    File& file = files_[number];
    file.reads = &reads;
    int64_t largest = 0;
    for (const Extent& extent : reads.extents) {
      largest = std::max(largest, extent.end);
      file.ends.push_back(largest);
    }
  }

  /// Where `extent` is cut by a piece that begins or ends at `at`: the next
  /// place that is within no element.
  int64_t CutOf(const Extent& extent, const PoolPiece& piece,
                int64_t at) const {
    if (at <= extent.begin) return extent.begin;
    if (!division_.files[piece.file].in_cells) {
      at = extent.begin + RoundUpTo(at - extent.begin, kPieceOverhang);
    }
    return std::min(at, extent.end);
  }

  FileRange PartOf(const Extent& extent, const PoolPiece& piece) const {
    const int64_t begin = CutOf(extent, piece, piece.begin);
    int64_t end = CutOf(extent, piece, piece.end);
    if (end > piece.read_end) {  // items overlap: the rest is read alone
      end = extent.begin +
            (piece.read_end - extent.begin) / kPieceOverhang * kPieceOverhang;
    }
    return {.begin = begin, .end = std::max(begin, end)};
  }

  void AddRest(const Extent& extent, std::span<const PoolPiece* const> taken,
               std::vector<Extent>* left) const {
    auto piece = std::partition_point(
        taken.begin(), taken.end(),
        [&](const PoolPiece* p) { return p->end <= extent.begin; });
    int64_t begin = extent.begin;
    for (; piece != taken.end() && (*piece)->begin < extent.end; ++piece) {
      const FileRange part = PartOf(extent, **piece);
      if (part.begin > begin) left->push_back({begin, part.begin, extent.sink});
      begin = std::max(begin, part.end);
    }
    if (begin < extent.end) left->push_back({begin, extent.end, extent.sink});
  }

  const PoolDivision& division_;
  std::map<size_t, File> files_;
};

PoolTaking::PoolTaking(PoolMember& member, Options options)
    : member_(member), options_(std::move(options)) {
  for (const PoolPiece& piece : member.division().pieces) {
    if (member.Takes(piece)) pieces_.push_back(&piece);
  }
}

Status PoolTaking::Take(std::span<const FilePart> files,
                        std::string_view last_file, int64_t end) {
  const auto& names = member_.division().files;
  const auto stop = std::partition_point(
      pieces_.begin(), pieces_.end(), [&](const PoolPiece* piece) {
        return std::tuple(std::string_view(names[piece->file].name),
                          piece->begin) < std::tuple(last_file, end);
      });
  Batch batch(member_.division(), files);
  return TakeUntil(static_cast<size_t>(stop - pieces_.begin()), batch);
}

Status PoolTaking::TakeRest() {
  Batch none(member_.division(), {});
  return TakeUntil(pieces_.size(), none);
}

/// Threads that take pieces one after the other.
class PoolTaking::Crew {
 public:
  Crew(PoolMember& member, std::span<const PoolPiece* const> pieces,
       Batch& batch)
      : member_(member),
        pieces_(pieces),
        batch_(batch),
        has_come_(pieces.size(), 0) {}

  /// One thread of several.
  void Work() {
    {
      const MutexLock lock(mutex_);
      ++working_;
    }
    Fail(Guarded([this] { return TakeAll([] { return absl::OkStatus(); }); }));
    const MutexLock lock(mutex_);
    --working_;
    changed_.NotifyAll();
  }

  /// The thread that may ask `proceed`, and does until the others have ended.
  void WorkAndAsk(const std::function<Status()>& proceed) {
    ProceedCheck ask(proceed);
    Fail(Guarded([&] { return TakeAll([&ask] { return ask(); }); }));
    while (IsWorkedOn()) Fail(Guarded([&ask] { return ask(); }));
  }

  /// When all have ended: the pieces that came.
  StatusOr<std::vector<const PoolPiece*>> TakeArrived() {
    const MutexLock lock(mutex_);
    DCP_RETURN_IF_ERROR(failure_);
    std::vector<const PoolPiece*> arrived;
    for (size_t i = 0; i < pieces_.size(); ++i) {
      if (has_come_[i] != 0) arrived.push_back(pieces_[i]);
    }
    return arrived;
  }

 private:
  void Fail(const Status& status) {
    if (status.ok()) return;
    const MutexLock lock(mutex_);
    failure_.Update(status);
    has_failed_ = true;
  }

  /// Waits a little for the others.
  bool IsWorkedOn() {
    const MutexLock lock(mutex_);
    if (working_ == 0) return false;
    changed_.WaitUntil(mutex_, std::chrono::steady_clock::now() +
                                   std::chrono::milliseconds(50));
    return working_ > 0;
  }

  Status TakeAll(const std::function<Status()>& proceed) {
    const auto go_on = [&]() -> Status {
      // Any error will do here: the first one is kept.
      return has_failed_ ? Internal("another thread failed") : proceed();
    };
    while (!has_failed_) {
      const size_t i = next_.fetch_add(1);
      if (i >= pieces_.size()) break;
      DCP_RETURN_IF_ERROR(go_on());
      DCP_ASSIGN_OR_RETURN(const bool is_there,
                           member_.Await(*pieces_[i], go_on));
      if (!is_there) continue;
      const Status delivered =
          batch_.Deliver(*pieces_[i], member_.BytesOf(*pieces_[i]));
      member_.Release(*pieces_[i]);
      DCP_RETURN_IF_ERROR(delivered);
      has_come_[i] = 1;
    }
    return absl::OkStatus();
  }

  PoolMember& member_;
  const std::span<const PoolPiece* const> pieces_;
  Batch& batch_;
  std::vector<char> has_come_;  // each written by one thread
  std::atomic<size_t> next_{0};
  std::atomic<bool> has_failed_{false};
  Mutex mutex_;
  CondVar changed_;
  int working_ ABSL_GUARDED_BY(mutex_) = 0;
  Status failure_ ABSL_GUARDED_BY(mutex_);
};

Status PoolTaking::TakeUntil(size_t end, Batch& batch) {
  if (next_ >= end) return absl::OkStatus();
  Crew crew(member_, std::span(pieces_).subspan(next_, end - next_), batch);
  RunOnThreads(std::min(static_cast<size_t>(options_.workers), end - next_),
               [&](size_t worker) {
                 if (worker > 0) return crew.Work();
                 crew.WorkAndAsk(options_.proceed);
               });
  DCP_ASSIGN_OR_RETURN(const auto arrived, crew.TakeArrived());
  next_ = end;
  batch.Remove(arrived);
  return absl::OkStatus();
}

}  // namespace dcp
