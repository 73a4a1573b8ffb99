// Checkpoints of more files than a process may have open.

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <string>

#include "storage/storage_cases.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

/// While it lives, this process may have `count` descriptors.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t count) {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit lower = {.rlim_cur = count, .rlim_max = before_.rlim_max};
    REQUIRE(setrlimit(RLIMIT_NOFILE, &lower) == 0);
  }
  ~DescriptorLimit() { (void)setrlimit(RLIMIT_NOFILE, &before_); }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;

 private:
  rlimit before_ = {};
};

TEST_CASE("a checkpoint may have more files than a process may have open",
          "[storage]") {
  const testing::TempDirectory temp;
  NativePlace place{.fs = MakePosixFileSystem(), .directory = temp.path()};
  place.writer.single_file_per_rank = false;
  place.writer.sync_files = false;
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  place.reader.io = ModestIo(IoEngineKind::kThreads);
  const auto storage = NativeStorage(place);
  conformance::State state;
  for (int i = 0; i < 600; ++i) {
    state.tensors["t" + std::to_string(i)] = conformance::RandomTensor(
        static_cast<uint64_t>(i), DType::kFloat32, {3, 5});
  }
  const DescriptorLimit limit(512);
  DCP_CHECK_OK(conformance::SaveOnce(storage, state, ShardedState(state, 1)));
  conformance::CheckHolds(storage, state);
}

}  // namespace
}  // namespace dcp
