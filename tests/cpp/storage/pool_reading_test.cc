#include "storage/pool_reading.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <new>

#include "dcp/file_system.h"
#include "storage/pool_members.h"

namespace dcp {
namespace {

using std::chrono::steady_clock;

TEST_CASE("nobody waits for a piece whose reader ran out of memory",
          "[storage][pool]") {
  const auto members = TwoMembers(8, {.max_slots = 2});
  const auto no_files = MakeMemoryFileSystem();
  const Sidecar no_sidecar;
  std::atomic<bool> has_thrown{false};
  const PoolReading reading(*members[0], {}, [&] {
    if (!has_thrown.exchange(true)) throw std::bad_alloc();
    return std::make_unique<OpenFiles>(*no_files, "/ckpt", DirectIo::kOff,
                                       no_sidecar);
  });
  const auto end = steady_clock::now() + std::chrono::seconds(10);
  const auto wait_no_longer = [end]() -> Status {
    if (steady_clock::now() < end) return absl::OkStatus();
    return Internal("it is still waited for");
  };
  for (const size_t number : {0, 1}) {  // each thread was at one
    const auto has_come =
        members[1]->Await(PieceOf(*members[1], 0, number), wait_no_longer);
    DCP_CHECK_OK(has_come.status());
    CHECK_FALSE(has_come.value_or(true));
  }
}

}  // namespace
}  // namespace dcp
