#include "io/posix_space.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "testing/temp_directory.h"

namespace dcp {
namespace {

TEST_CASE("the source of a mount is found by its device", "[space]") {
  constexpr std::string_view kMountinfo =
      "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root "
      "rw,errors=continue\n"
      "41 27 0:42 / /data rw - nfs4 server:/export rw,vers=4.2\n"
      "42 27 0:43 broken\n";
  CHECK(MountSource(kMountinfo, "98:0") == "ext3 /dev/root");
  CHECK(MountSource(kMountinfo, "0:42") == "nfs4 server:/export");
  CHECK(MountSource(kMountinfo, "0:43").empty());
  CHECK(MountSource(kMountinfo, "0:4").empty());
  CHECK(MountSource("", "0:42").empty());
}

TEST_CASE("two devices are two pools", "[space]") {
  const testing::TempDirectory directory;
  const auto here = PosixSpace(directory.path());
  const auto proc = PosixSpace("/proc");
  REQUIRE(here.ok());
  REQUIRE(proc.ok());
  CHECK(here->free_nbytes > 0);
  CHECK(proc->free_nbytes == 0);
  CHECK(here->pool != proc->pool);
  CHECK(PosixSpace(directory.path() + "/none").status().code() ==
        absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dcp
