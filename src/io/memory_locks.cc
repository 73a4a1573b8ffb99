#include "io/memory_locks.h"

#include <utility>

namespace dcp {

class MemoryLocks::Held final : public FileLock {
 public:
  Held(std::shared_ptr<Table> table, std::string path)
      : table_(std::move(table)), path_(std::move(path)) {}
  ~Held() override {
    const MutexLock lock(table_->mutex);
    table_->owner_by_path.erase(path_);
  }

  Status Check() const override { return absl::OkStatus(); }
  bool was_abandoned() const override { return false; }

 private:
  const std::shared_ptr<Table> table_;
  const std::string path_;
};

StatusOr<std::unique_ptr<FileLock>> MemoryLocks::Lock(
    const std::string& path, const std::string& owner) {
  const MutexLock lock(table_->mutex);
  const auto [entry, is_new] = table_->owner_by_path.emplace(path, owner);
  if (!is_new) {
    return MakeStatus(absl::StatusCode::kAborted,
                      path + " is locked by " + entry->second);
  }
  return std::make_unique<Held>(table_, path);
}

std::optional<std::string> MemoryLocks::OwnerOf(const std::string& path) const {
  const MutexLock lock(table_->mutex);
  const auto found = table_->owner_by_path.find(path);
  if (found == table_->owner_by_path.end()) return std::nullopt;
  return found->second;
}

}  // namespace dcp
