#include "storage/indexed_file.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "format/file_names.h"
#include "storage/limits.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("an index larger than any is refused unread, though it has holes",
          "[storage]") {
  constexpr int64_t kNbytes = kMaxIndexedMetadataNbytes + 1;
  const testing::TempDirectory temp;
  const Sidecar sidecar{.save_id = "dcpcpp-0abc",
                        .index = SidecarIndex{.nbytes = kNbytes}};
  const std::string path =
      JoinPath(temp.path(), IndexedMetadataName(sidecar.save_id));
  std::ofstream(path).close();
  std::filesystem::resize_file(path, kNbytes);
  const auto fs = MakePosixFileSystem();
  const Status status = OpenIndexedFile(*fs, temp.path(), sidecar).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)),
             Contains("1073741825 bytes, at most 1073741824 are read"));
}

}  // namespace
}  // namespace dcp
