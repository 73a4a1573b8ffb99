#include "io/direct_io.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "conformance/bytes.h"
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
  if (!direct->has_value()) return;  // CheckDirectIoRequests covers that
  CHECK((*direct)->alignment.offset % ::sysconf(_SC_PAGESIZE) == 0);
  CHECK((*direct)->alignment.memory >= 1);
  const auto nbytes = static_cast<size_t>((*direct)->alignment.offset);
  AlignedBytes block(nbytes);
  CHECK(::pwrite((*direct)->fd.get(), block.data(), nbytes, 0) ==
        static_cast<ssize_t>(nbytes));
  CHECK(::lseek(fd.get(), 0, SEEK_END) == static_cast<off_t>(nbytes));
}

}  // namespace
}  // namespace dcp
