#include "io/posix_open.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>

#include "dcp/file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

namespace stdfs = std::filesystem;
using testing::TempDirectory;

/// A tree with an inside and an outside:
///
///   secret
///   root/file  root/sub/file  and links as the tests add them
class Tree {
 public:
  Tree() {
    stdfs::create_directories(root() / "sub");
    Write("secret", "secret");
    Write("root/file", "file");
    Write("root/sub/file", "sub");
  }

  stdfs::path top() const { return directory_.path(); }
  stdfs::path root() const { return top() / "root"; }

  void Link(const std::string& name, const stdfs::path& target) {
    stdfs::create_symlink(target, root() / name);
  }

  /// What is read beneath root/, or the error's code.
  std::string Read(const std::string& name, ResolveMethod method) {
    errno = 0;  // what an earlier call left must not be mistaken for an answer
    auto fd = OpenBeneath((root() / name).string(), root().string(), method);
    if (!fd.ok()) return absl::StatusCodeToString(fd.status().code());
    std::string content(100, '\0');
    const ssize_t n = ::read(fd->get(), content.data(), content.size());
    return content.substr(0, static_cast<size_t>(std::max<ssize_t>(n, 0)));
  }

 private:
  void Write(const std::string& name, const std::string& content) {
    REQUIRE(WriteFile(*MakePosixFileSystem(), top() / name, content,
                      SyncMode::kNone)
                .ok());
  }

  TempDirectory directory_;
};

TEST_CASE("links within a directory are followed", "[posix_open]") {
  const auto method = GENERATE(ResolveMethod::kAuto, ResolveMethod::kWalk);
  Tree tree;
  tree.Link("link", "file");
  tree.Link("sub/up", "../file");
  tree.Link("directory", "sub/../sub");
  tree.Link("chain", "directory/up");
  CHECK(tree.Read("file", method) == "file");
  CHECK(tree.Read("./sub//file", method) == "sub");
  CHECK(tree.Read("sub/../file", method) == "file");
  CHECK(tree.Read("link", method) == "file");
  CHECK(tree.Read("sub/up", method) == "file");
  CHECK(tree.Read("directory/file", method) == "sub");
  CHECK(tree.Read("chain", method) == "file");
}

TEST_CASE("whatever leads out of a directory is refused", "[posix_open]") {
  const auto method = GENERATE(ResolveMethod::kAuto, ResolveMethod::kWalk);
  Tree tree;
  tree.Link("relative", "../secret");
  tree.Link("absolute", tree.top() / "secret");
  tree.Link("absolute_inside", tree.root() / "file");
  tree.Link("out", "..");
  tree.Link("out_and_in", "../root/file");
  tree.Link("magic", "/proc/self/cwd");
  const std::string refused = "INVALID_ARGUMENT";
  CHECK(tree.Read("../secret", method) == refused);
  CHECK(tree.Read("sub/../../secret", method) == refused);
  CHECK(tree.Read("relative", method) == refused);
  CHECK(tree.Read("absolute", method) == refused);
  CHECK(tree.Read("absolute_inside", method) == refused);
  CHECK(tree.Read("out/secret", method) == refused);
  CHECK(tree.Read("out_and_in", method) == refused);
  CHECK(tree.Read("magic/x", method) == refused);
}

TEST_CASE("what is not a regular file is refused at once", "[posix_open]") {
  const auto method = GENERATE(ResolveMethod::kAuto, ResolveMethod::kWalk);
  Tree tree;
  REQUIRE(::mkfifo((tree.root() / "fifo").c_str(), 0600) == 0);
  sockaddr_un address{.sun_family = AF_UNIX};
  const std::string name = "socket";
  name.copy(address.sun_path, name.size());
  const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto before = stdfs::current_path();
  stdfs::current_path(tree.root());  // sun_path is short
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address),
                 sizeof address) == 0);
  stdfs::current_path(before);
  const std::string refused = "INVALID_ARGUMENT";
  CHECK(tree.Read("fifo", method) == refused);
  CHECK(tree.Read("socket", method) == refused);
  CHECK(tree.Read("sub", method) == refused);
  CHECK(tree.Read("sub/", method) == refused);
  const auto code = [](const stdfs::path& path) {
    return OpenForReading(path).status().code();
  };
  CHECK(code(tree.root() / "fifo") == absl::StatusCode::kInvalidArgument);
  CHECK(code(tree.root() / "socket") == absl::StatusCode::kInvalidArgument);
  CHECK(code(tree.root()) == absl::StatusCode::kInvalidArgument);
  CHECK(code("/dev/zero") == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("names that lead nowhere are not found", "[posix_open]") {
  const auto method = GENERATE(ResolveMethod::kAuto, ResolveMethod::kWalk);
  Tree tree;
  tree.Link("dangling", "nothing");
  tree.Link("loop", "loop");
  CHECK(tree.Read("nothing", method) == "NOT_FOUND");
  CHECK(tree.Read("nothing/file", method) == "NOT_FOUND");
  CHECK(tree.Read("dangling", method) == "NOT_FOUND");
  CHECK(tree.Read("file/below", method) == "NOT_FOUND");
  auto fd = OpenBeneath((tree.root() / "loop").string(), tree.root().string(),
                        method);
  CHECK(GetErrorDetail(fd.status())->error_number == ELOOP);
  fd = OpenBeneath("/nowhere/x", "/nowhere", method);
  CHECK(fd.status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("creating does not follow what is there", "[posix_open]") {
  Tree tree;
  tree.Link("dangling", "../created");
  tree.Link("to_secret", "../secret");
  const auto code = [&](const std::string& name) {
    return CreateNew(tree.root() / name).status().code();
  };
  CHECK(code("dangling") == absl::StatusCode::kAlreadyExists);
  CHECK(code("to_secret") == absl::StatusCode::kAlreadyExists);
  CHECK(code("file") == absl::StatusCode::kAlreadyExists);
  CHECK(code("sub") == absl::StatusCode::kAlreadyExists);
  CHECK_FALSE(stdfs::exists(tree.top() / "created"));
  CHECK(stdfs::file_size(tree.top() / "secret") == 6);
}

TEST_CASE("a new file has the mode that the umask allows", "[posix_open]") {
  Tree tree;
  const mode_t before = ::umask(027);
  const auto fd = CreateNew(tree.root() / "new");
  ::umask(before);
  REQUIRE(fd.ok());
  struct stat info = {};
  REQUIRE(::fstat(fd->get(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0640);
}

}  // namespace
}  // namespace dcp
