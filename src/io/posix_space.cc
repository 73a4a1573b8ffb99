// Space is shared by whoever writes to one file system, so before a save the
// ranks add up what they need per pool. Two mistakes are possible: two disks
// under one name would refuse a save that fits; one disk under two names only
// lets a full disk be noticed later. So a pool is
//
//   local file system:   boot id of the host, and the device number (a cloned
//                        disk image has the same f_fsid on every host)
//   network file system: its type and source as mounted, e.g. "nfs4 srv:/x",
//                        which is the same on all hosts

#include "io/posix_space.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>

#include "base/unique_fd.h"

namespace dcp {
namespace {

// statfs(2) lists these; linux/magic.h lacks those of out-of-tree clients.
constexpr std::array<uint32_t, 10> kNetworkFileSystems = {
    NFS_SUPER_MAGIC,  CEPH_SUPER_MAGIC, SMB_SUPER_MAGIC,
    CIFS_SUPER_MAGIC, SMB2_SUPER_MAGIC, AFS_SUPER_MAGIC,
    0x0bd00bd0,  // Lustre
    0x47504653,  // GPFS
    0x19830326,  // BeeGFS
    0x20030528,  // OrangeFS
};

/// A file of /proc, whose size is not known before it is read; empty if there
/// is none.
std::string ReadProcFile(const char* path) {
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  std::string content;
  std::array<char, 4096> buffer{};
  while (fd.ok()) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n <= 0) break;
    content.append(buffer.data(), static_cast<size_t>(n));
  }
  return content;
}

/// Takes what stands before `separator` off the front of `*text`.
std::string_view Take(std::string_view* text, char separator) {
  const size_t end = std::min(text->find(separator), text->size());
  const std::string_view taken = text->substr(0, end);
  text->remove_prefix(std::min(end + 1, text->size()));
  return taken;
}

StatusOr<bool> IsNetworkFileSystem(const std::string& path) {
  struct statfs info = {};
  if (::statfs(path.c_str(), &info) != 0) {
    return ErrnoToStatus(errno, {.op = "statfs", .path = path});
  }
  return std::find(kNetworkFileSystems.begin(), kNetworkFileSystems.end(),
                   static_cast<uint32_t>(info.f_type)) !=
         kNetworkFileSystems.end();
}

StatusOr<std::string> PoolOf(const std::string& path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0) {
    return ErrnoToStatus(errno, {.op = "stat", .path = path});
  }
  const std::string device = std::to_string(major(info.st_dev)) + ":" +
                             std::to_string(minor(info.st_dev));
  DCP_ASSIGN_OR_RETURN(const bool is_network, IsNetworkFileSystem(path));
  if (is_network) {
    std::string source =
        MountSource(ReadProcFile("/proc/self/mountinfo"), device);
    if (!source.empty()) return source;
  }
  std::string boot_id = ReadProcFile("/proc/sys/kernel/random/boot_id");
  while (boot_id.ends_with('\n')) boot_id.pop_back();
  return boot_id + " " + device;
}

}  // namespace

std::string MountSource(std::string_view mountinfo, std::string_view device) {
  while (!mountinfo.empty()) {
    std::string_view line = Take(&mountinfo, '\n');
    (void)Take(&line, ' ');  // mount id
    (void)Take(&line, ' ');  // parent id
    if (Take(&line, ' ') != device) continue;
    // Optional fields end with a lone "-"; type and source follow.
    constexpr std::string_view kSeparator = " - ";
    const size_t separator = line.find(kSeparator);
    if (separator == line.npos) continue;
    line.remove_prefix(separator + kSeparator.size());
    const std::string_view type = Take(&line, ' ');
    return std::string(type) + " " + std::string(Take(&line, ' '));
  }
  return "";
}

StatusOr<SpaceInfo> PosixSpace(const std::string& path) {
  struct statvfs info = {};
  if (::statvfs(path.c_str(), &info) != 0) {
    return ErrnoToStatus(errno, {.op = "statvfs", .path = path});
  }
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  const uint64_t block_nbytes = std::max<uint64_t>(info.f_frsize, 1);
  const uint64_t blocks =
      std::min<uint64_t>(info.f_bavail, kMax / block_nbytes);
  DCP_ASSIGN_OR_RETURN(std::string pool, PoolOf(path));
  return SpaceInfo{.free_nbytes = static_cast<int64_t>(blocks * block_nbytes),
                   .pool = std::move(pool)};
}

}  // namespace dcp
