#include "meter.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <vector>

namespace dcp::benchmarks {
namespace {

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) +
           1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// A line of /proc/self/status, e.g. "VmHWM", in MiB.
double StatusMib(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) {
      return std::stod(line.substr(name.size() + 1)) / 1024;
    }
  }
  return 0;
}

/// Calls `visit` for every file in `directory`.
Status ForEachFile(FileSystem& fs, const std::string& directory,
                   const std::function<Status(File&)>& visit) {
  DCP_ASSIGN_OR_RETURN(const auto entries, fs.List(directory));
  for (const DirectoryEntry& entry : entries) {
    if (entry.kind != FileKind::kFile) continue;
    DCP_ASSIGN_OR_RETURN(const auto file,
                         fs.Open(JoinPath(directory, entry.name), {}));
    DCP_RETURN_IF_ERROR(visit(*file));
  }
  return absl::OkStatus();
}

Status Forget(File& file) {
  ::fdatasync(file.fd());
  const int error = ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
  if (error == 0) return absl::OkStatus();
  return ErrnoToStatus(error, {.op = "posix_fadvise", .path = file.path()});
}

}  // namespace

StatusOr<Sample> Measure(const std::function<Status()>& call) {
  // What was freed before must not hide what the call takes.
  ::malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets VmHWM
  const double rss = StatusMib("VmRSS");
  const double cpu = CpuSeconds();
  const auto start = std::chrono::steady_clock::now();
  DCP_RETURN_IF_ERROR(call());
  const std::chrono::duration<double> elapsed =
      std::chrono::steady_clock::now() - start;
  return Sample{.seconds = elapsed.count(),
                .cpu_seconds = CpuSeconds() - cpu,
                .extra_rss_mib = std::max(0.0, StatusMib("VmHWM") - rss)};
}

Status DropFromCache(FileSystem& fs, const std::string& directory) {
  return ForEachFile(fs, directory, Forget);
}

Status BringToCache(FileSystem& fs, const std::string& directory) {
  std::vector<std::byte> buffer(size_t{4} << 20);
  return ForEachFile(fs, directory, [&](File& file) -> Status {
    DCP_ASSIGN_OR_RETURN(const int64_t size, file.Size());
    const auto step = static_cast<int64_t>(buffer.size());
    for (int64_t at = 0; at < size; at += step) {
      const IoSlice slice{buffer.data(),
                          static_cast<size_t>(std::min(step, size - at))};
      DCP_RETURN_IF_ERROR(file.ReadFully(at, {&slice, 1}));
    }
    return absl::OkStatus();
  });
}

}  // namespace dcp::benchmarks
