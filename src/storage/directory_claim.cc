#include "storage/directory_claim.h"

#include <optional>
#include <utility>

#include "base/process_name.h"
#include "format/file_names.h"
#include "storage/lease.h"

namespace dcp {
namespace {

std::string LostMessage(const std::string& directory) {
  return "another writer took over " + directory +
         " while this save was at work";
}

class LockClaim final : public DirectoryClaim {
 public:
  LockClaim(std::unique_ptr<FileLock> lock, std::string directory)
      : lock_(std::move(lock)), directory_(std::move(directory)) {}
  Status Check() override {
    const Status status = lock_->Check();
    return status.code() == absl::StatusCode::kAborted
               ? Annotate(status, LostMessage(directory_))
               : status;
  }
  bool was_abandoned() const override { return lock_->was_abandoned(); }

 private:
  const std::unique_ptr<FileLock> lock_;
  const std::string directory_;
};

class LeaseClaim final : public DirectoryClaim {
 public:
  LeaseClaim(std::unique_ptr<Lease> lease, std::string directory)
      : lease_(std::move(lease)), directory_(std::move(directory)) {}
  Status Check() override {
    if (lease_->held()) return absl::OkStatus();
    return MakeStatus(absl::StatusCode::kAborted, LostMessage(directory_));
  }
  bool was_abandoned() const override { return lease_->was_abandoned(); }

 private:
  const std::unique_ptr<Lease> lease_;
  const std::string directory_;
};

class NoClaim final : public DirectoryClaim {
 public:
  Status Check() override { return absl::OkStatus(); }
  bool was_abandoned() const override { return false; }
};

Status BusyError(const Status& status, const std::string& directory) {
  return status.code() == absl::StatusCode::kAborted
             ? Annotate(status, "another save is at work in " + directory)
             : status;
}

Status RequireNobodyHolds(FileSystem& fs, const std::string& directory,
                          const std::string& name) {
  const std::string path = JoinPath(directory, name);
  const auto owner = fs.LockOwner(path);
  if (owner.status().code() == absl::StatusCode::kUnimplemented) {
    return absl::OkStatus();
  }
  DCP_RETURN_IF_ERROR(owner.status());
  if (!owner->has_value()) return absl::OkStatus();
  return BusyError(
      MakeStatus(absl::StatusCode::kAborted, path + " is locked by " + **owner),
      directory);
}

bool HasLeases(const FileSystemTraits& traits) {
  return traits.atomic_rename && traits.positional_writes;
}

}  // namespace

StatusOr<std::unique_ptr<DirectoryClaim>> ClaimDirectory(
    std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
    const ClaimRequest& request) {
  const std::string& directory = request.directory;
  const auto name = request.use_collectives
                        ? std::optional<int64_t>()
                        : std::optional<int64_t>(request.rank);
  auto lock =
      file_system->Lock(JoinPath(directory, LockFileName(name)),
                        "save " + request.save_id + " of " + ProcessName());
  if (lock.ok()) {
    return std::make_unique<LockClaim>(*std::move(lock), directory);
  }
  if (lock.status().code() != absl::StatusCode::kUnimplemented) {
    return BusyError(lock.status(), directory);
  }
  if (!HasLeases(file_system->traits())) return std::make_unique<NoClaim>();
  auto lease =
      Lease::Take(std::move(file_system), std::move(clock),
                  JoinPath(directory, LeaseFileName(name)), request.save_id);
  if (!lease.ok()) return BusyError(lease.status(), directory);
  return std::make_unique<LeaseClaim>(*std::move(lease), directory);
}

Status RequireNoOtherKind(FileSystem& file_system,
                          const ClaimRequest& request) {
  if (!request.use_collectives) {
    return RequireNobodyHolds(file_system, request.directory,
                              LockFileName(std::nullopt));
  }
  DCP_ASSIGN_OR_RETURN(const auto entries, file_system.List(request.directory));
  for (const DirectoryEntry& entry : entries) {
    if (!IsRankLockFileName(entry.name)) continue;
    DCP_RETURN_IF_ERROR(
        RequireNobodyHolds(file_system, request.directory, entry.name));
  }
  return absl::OkStatus();
}

}  // namespace dcp
