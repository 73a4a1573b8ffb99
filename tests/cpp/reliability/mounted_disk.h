// MountedDisk: a small file system of a test's own, for what one cannot do to
// somebody else's.

#ifndef DCP_TESTS_RELIABILITY_MOUNTED_DISK_H_
#define DCP_TESTS_RELIABILITY_MOUNTED_DISK_H_

#include <memory>
#include <string>

#include "dcp/status.h"
#include "testing/temp_directory.h"

namespace dcp::testing {

class MountedDisk {
 public:
  /// A tmpfs of `nbytes`.
  /// \error kUnimplemented  this process may not mount
  static StatusOr<std::unique_ptr<MountedDisk>> Tmpfs(int64_t nbytes);
  /// An ext4 of 96 MiB in a file.
  static StatusOr<std::unique_ptr<MountedDisk>> Ext4();
  ~MountedDisk();

  const std::string& path() const { return mount_point_; }

  /// ext4: as if the power went. Nothing that is not on the disk gets there.
  Status CutPower() const;
  /// ext4: calls that would change it wait until it thaws.
  Status Freeze();
  Status Thaw();
  /// ext4: mounts it again, as after a boot: the journal is replayed.
  Status Reboot();

 private:
  MountedDisk();
  Status Mount();
  Status Control(unsigned long request, const void* argument) const;

  const TempDirectory directory_;
  const std::string mount_point_;
  std::string mount_arguments_;
  bool is_mounted_ = false;
  bool is_frozen_ = false;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_RELIABILITY_MOUNTED_DISK_H_
