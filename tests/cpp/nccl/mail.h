// Mail: messages between processes that are files of one directory.

#ifndef DCP_TESTS_NCCL_MAIL_H_
#define DCP_TESTS_NCCL_MAIL_H_

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

/// Who finds a file finds all of it, as files appear by a rename.
class Mail {
 public:
  explicit Mail(std::string directory) : directory_(std::move(directory)) {}

  void Put(const std::string& name, std::string_view bytes) const {
    const std::string written = Path(name) + ".new" + std::to_string(getpid());
    std::ofstream(written, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    std::rename(written.c_str(), Path(name).c_str());
  }
  /// None: it is not there yet.
  std::optional<std::string> Get(const std::string& name) const {
    std::ifstream file(Path(name), std::ios::binary | std::ios::ate);
    if (!file) return std::nullopt;
    std::string bytes(static_cast<size_t>(file.tellg()), '\0');
    file.seekg(0).read(bytes.data(),
                       static_cast<std::streamsize>(bytes.size()));
    return bytes;
  }
  void Remove(const std::string& name) const { unlink(Path(name).c_str()); }
  void Append(const std::string& name, const std::string& line) const {
    std::ofstream(Path(name), std::ios::app) << line << '\n';
  }

 private:
  std::string Path(const std::string& name) const {
    return directory_ + "/" + name;
  }
  std::string directory_;
};

#endif  // DCP_TESTS_NCCL_MAIL_H_
