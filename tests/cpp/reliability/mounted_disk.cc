#include "reliability/mounted_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace dcp::testing {
namespace {

// EXT4_IOC_SHUTDOWN of the kernel's fs/ext4/ext4.h: not in a header of its.
constexpr unsigned long kShutdown = _IOR('X', 125, uint32_t);
constexpr uint32_t kWithoutLogFlush = 2;

Status Run(const std::string& command) {
  if (std::system((command + " >/dev/null 2>&1").c_str()) == 0) {
    return absl::OkStatus();
  }
  return Unimplemented("this process may not, or cannot: " + command);
}

}  // namespace

MountedDisk::MountedDisk() : mount_point_(directory_.path() + "/mnt") {
  (void)::mkdir(mount_point_.c_str(), 0755);
}

StatusOr<std::unique_ptr<MountedDisk>> MountedDisk::Tmpfs(int64_t nbytes) {
  std::unique_ptr<MountedDisk> disk(new MountedDisk);
  disk->mount_arguments_ =
      "-t tmpfs -o size=" + std::to_string(nbytes) + " tmpfs";
  DCP_RETURN_IF_ERROR(disk->Mount());
  return disk;
}

StatusOr<std::unique_ptr<MountedDisk>> MountedDisk::Ext4() {
  std::unique_ptr<MountedDisk> disk(new MountedDisk);
  const std::string image = disk->directory_.path() + "/image";
  DCP_RETURN_IF_ERROR(Run("truncate -s 96M " + image));
  DCP_RETURN_IF_ERROR(Run("/sbin/mkfs.ext4 -q -F " + image));
  disk->mount_arguments_ = "-o loop " + image;
  DCP_RETURN_IF_ERROR(disk->Mount());
  return disk;
}

MountedDisk::~MountedDisk() {
  if (is_frozen_) (void)Thaw();
  if (is_mounted_) (void)Run("umount " + mount_point_);
}

Status MountedDisk::Mount() {
  DCP_RETURN_IF_ERROR(Run("mount " + mount_arguments_ + " " + mount_point_));
  is_mounted_ = true;
  return absl::OkStatus();
}

Status MountedDisk::CutPower() const {
  return Control(kShutdown, &kWithoutLogFlush);
}

Status MountedDisk::Freeze() {
  DCP_RETURN_IF_ERROR(Control(FIFREEZE, nullptr));
  is_frozen_ = true;
  return absl::OkStatus();
}

Status MountedDisk::Thaw() {
  is_frozen_ = false;
  return Control(FITHAW, nullptr);
}

Status MountedDisk::Control(unsigned long request, const void* argument) const {
  const int fd = ::open(mount_point_.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) return ErrnoToStatus(errno, {.path = mount_point_});
  const int result = ::ioctl(fd, request, argument);
  const int error = errno;
  (void)::close(fd);
  if (result == 0) return absl::OkStatus();
  return ErrnoToStatus(error, {.op = "ioctl", .path = mount_point_});
}

Status MountedDisk::Reboot() {
  DCP_RETURN_IF_ERROR(Run("umount " + mount_point_));
  is_mounted_ = false;
  return Mount();
}

}  // namespace dcp::testing
