// Lease: a claim on a directory where the file system has no locks.

#ifndef DCP_STORAGE_LEASE_H_
#define DCP_STORAGE_LEASE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/mutex.h"
#include "dcp/clock.h"
#include "dcp/file_system.h"
#include "io/fork_guard.h"

namespace dcp {

/// How often a lease is renewed; who finds one that stood still for three of
/// these takes it over.
inline constexpr Clock::Duration kLeaseBeat = std::chrono::seconds(5);

/// Who the lease file with this content says that it belongs to, printable:
/// anybody may have written it.
std::string LeaseHolder(std::string_view content);

/// A file that its holder rewrites every beat, with a number that counts up.
/// Needs FileSystemTraits::atomic_rename and OpenMode::kCreateNew that two
/// clients cannot both succeed in.
class Lease {
 public:
  /// Waits three beats if a lease is there.
  /// \param save_id  dcpcpp's, not used by anybody else
  /// \error kAborted  its holder lives; names it
  static StatusOr<std::unique_ptr<Lease>> Take(std::shared_ptr<FileSystem> fs,
                                               std::shared_ptr<Clock> clock,
                                               const std::string& path,
                                               const std::string& save_id);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  /// Whether the file is still this one's, and was renewed in time.
  bool held();
  /// Whether it was taken over from a holder that died.
  bool was_abandoned() const { return was_abandoned_; }

 private:
  Lease(std::shared_ptr<FileSystem> fs, std::shared_ptr<Clock> clock,
        std::string path, std::string save_id);

  StatusOr<bool> TakeOver();
  std::string Content(int64_t count) const;
  std::string TemporaryPath() const;
  /// Replaces whatever lease is there.
  Status Put(int64_t count);
  bool IsMine();
  void Beat();

  const std::shared_ptr<FileSystem> fs_;
  const std::shared_ptr<Clock> clock_;
  const std::string path_;
  const std::string save_id_;
  const std::string owner_;
  bool was_abandoned_ = false;
  std::atomic<int64_t> renewed_ns_{0};  // by the clock
  std::atomic<bool> stops_{false};
  std::thread thread_;
  const ForkGuard fork_guard_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_LEASE_H_
