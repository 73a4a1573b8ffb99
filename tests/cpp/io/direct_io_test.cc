#include "io/direct_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <variant>

#include "conformance/bytes.h"
#include "dcp/io_engine.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::AlignedBytes;

TEST_CASE("what direct I/O can take is aligned in every way", "[direct_io]") {
  const DirectIoAlignment alignment{.memory = 512, .offset = 4096};
  AlignedBytes memory(16384);
  const auto fits = [&](int64_t offset, size_t begin, size_t nbytes) {
    const IoSlice slice{memory.data() + begin, nbytes};
    return FitsDirectIo(alignment, offset, {&slice, 1});
  };
  CHECK(fits(8192, 0, 4096));
  CHECK(fits(0, 512, 8192));
  CHECK_FALSE(fits(512, 0, 4096));
  CHECK_FALSE(fits(0, 100, 4096));
  CHECK_FALSE(fits(0, 0, 4097));
  const std::vector<IoSlice> mixed = {{memory.data(), 4096},
                                      {memory.data() + 4096, 100}};
  CHECK_FALSE(FitsDirectIo(alignment, 0, mixed));
}

TEST_CASE("a direct descriptor is of the same file and asks for whole pages",
          "[direct_io]") {
  const testing::TempDirectory directory;
  const std::string path = JoinPath(directory.path(), "f");
  const UniqueFd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  REQUIRE(fd.ok());
  REQUIRE(::unlink(path.c_str()) == 0);  // its name is not needed
  auto direct = OpenDirect(fd.get(), OpenMode::kCreateNew);
  REQUIRE(direct.ok());
  CHECK(::lseek(fd.get(), 0, SEEK_END) == 0);  // a probe left nothing
  const auto* descriptor = std::get_if<DirectDescriptor>(&*direct);
  if (descriptor == nullptr) return;  // CheckDirectIoRequests covers that
  CHECK(descriptor->alignment.offset % ::sysconf(_SC_PAGESIZE) == 0);
  CHECK(descriptor->alignment.memory >= 1);
  const auto nbytes = static_cast<size_t>(descriptor->alignment.offset);
  AlignedBytes block(nbytes);
  CHECK(::pwrite(descriptor->fd.get(), block.data(), nbytes, 0) ==
        static_cast<ssize_t>(nbytes));
  CHECK(::lseek(fd.get(), 0, SEEK_END) == static_cast<off_t>(nbytes));
}

TEST_CASE("a probe says whether direct I/O serves a place, and why",
          "[direct_io]") {
  const testing::TempDirectory directory;
  const auto on_disk = ProbeDirectIo(directory.path());
  REQUIRE(on_disk.ok());
  CHECK_FALSE(on_disk->reason.empty());
  CHECK(std::filesystem::is_empty(directory.path()));
  const std::string path = JoinPath(directory.path(), "f");
  const auto fs = MakePosixFileSystem();
  auto file = fs->Open(
      path, {.mode = OpenMode::kCreateNew, .direct_io = DirectIo::kTry});
  REQUIRE(file.ok());
  CHECK((*file)->direct_io().has_value() == on_disk->available);
  const auto of_file = ProbeDirectIo(path);
  REQUIRE(of_file.ok());
  CHECK(of_file->available == on_disk->available);

  const auto in_memory = ProbeDirectIo("/dev/shm");
  REQUIRE(in_memory.ok());
  CHECK_FALSE(in_memory->available);
  CHECK(in_memory->reason == "the file system keeps files in memory");

  const auto nowhere = ProbeDirectIo(JoinPath(directory.path(), "nothing"));
  CHECK(nowhere.status().code() == absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dcp
