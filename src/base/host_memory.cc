#include "base/host_memory.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace dcp {
namespace {

/// The beginning of a small file: what is looked for stands there.
class SmallFile {
 public:
  explicit SmallFile(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    ssize_t got = 0;
    while (size_ < text_.size() &&
           (got = ::read(fd, text_.data() + size_, text_.size() - size_)) > 0) {
      size_ += static_cast<size_t>(got);
    }
    ::close(fd);
  }

  std::string_view text() const { return {text_.data(), size_}; }

  /// What follows `key` in the line that begins with it; empty if none does.
  std::string_view After(std::string_view key) const {
    for (std::string_view rest = text(); !rest.empty();) {
      const std::string_view line = rest.substr(0, rest.find('\n'));
      if (line.starts_with(key)) return line.substr(key.size());
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    }
    return {};
  }

 private:
  std::array<char, 8192> text_ = {};
  size_t size_ = 0;
};

/// The number that `text` begins with; nullopt if it is "max", say.
std::optional<int64_t> ParseNumber(std::string_view text) {
  text.remove_prefix(std::min(text.size(), text.find_first_not_of(' ')));
  int64_t number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  return number;
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  return ParseNumber(SmallFile(path).text());
}

/// What one group leaves up to its limit; nullopt if it has none.
std::optional<int64_t> LeftIn(const std::string& group) {
  const auto limit = ReadNumber(group + "/memory.max");
  const auto current = ReadNumber(group + "/memory.current");
  if (!limit || !current) return std::nullopt;
  const auto droppable =
      ParseNumber(SmallFile(group + "/memory.stat").After("inactive_file "))
          .value_or(0);
  return std::max(int64_t{0}, *limit - *current + droppable);
}

void TakeLess(const std::optional<int64_t>& other,
              std::optional<int64_t>* available) {
  if (other && (!*available || *other < **available)) *available = other;
}

}  // namespace

std::optional<int64_t> AvailableHostMemory(const MemoryFiles& files) {
  std::optional<int64_t> available;
  const auto kib =
      ParseNumber(SmallFile(files.proc + "/meminfo").After("MemAvailable:"));
  if (kib) available = *kib * 1024;
  // The process's group in the unified hierarchy, "/job/rank0", and those
  // above.
  const SmallFile groups(files.proc + "/self/cgroup");
  for (std::string_view group = groups.After("0::"); !group.empty();) {
    TakeLess(LeftIn(files.cgroup + std::string(group)), &available);
    group =
        group.substr(0, std::min(group.size() - 1, group.find_last_of('/')));
  }
  // In a container the group is often the root of what can be seen.
  TakeLess(LeftIn(files.cgroup), &available);
  return available;
}

}  // namespace dcp
