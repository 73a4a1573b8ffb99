// Memory of an arena that devices have pinned.

#include <sys/mman.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <new>
#include <vector>

#include "base/tensor_cases.h"
#include "conformance/check_files.h"
#include "staging/host_arena.h"
#include "staging/test_pages.h"
#include "testing/fake_device.h"

namespace dcp {
namespace {

using testing::FakeDevice;

constexpr int64_t kMiB = int64_t{1} << 20;
constexpr int64_t kNoLimit = int64_t{1} << 40;
constexpr auto kChunk = static_cast<int64_t>(PinnedChunks::kChunk);

/// An arena and a device, which refuses to pin memory twice.
struct PinnedArena {
  ArenaLease Take(int64_t nbytes, int64_t max_nbytes = kNoLimit) {
    auto lease = arena.TryTake({.nbytes = nbytes, .max_nbytes = max_nbytes});
    REQUIRE(lease.ok());
    return *std::move(lease);
  }
  Status Pin(
      const ArenaLease& lease,
      const std::function<bool()>& is_over = [] { return false; }) {
    return arena.Pin(lease.memory(),
                     {.runtime = device, .device = FakeDevice::kDevice}, 1,
                     is_over);
  }

  PagesRecord pages;
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  HostArena arena{std::make_unique<TestPages>(pages)};
};

TEST_CASE("memory is pinned once, in chunks, and stays so", "[staging]") {
  PinnedArena test;
  for (int round = 0; round < 3; ++round) {
    const ArenaLease lease = test.Take(2 * kChunk + 10 * kMiB);
    DCP_CHECK_OK(test.Pin(lease));
    CHECK(test.device->pinned_nbytes() == 2 * kChunk + 10 * kMiB);
    const auto borders = test.arena.PinBordersIn(lease.memory());
    CHECK(borders ==
          std::vector<const std::byte*>{lease.memory().data() + kChunk,
                                        lease.memory().data() + 2 * kChunk});
  }
  // What is smaller has it already, what is a bit larger needs the rest.
  { DCP_CHECK_OK(test.Pin(test.Take(kMiB))); }
  CHECK(test.device->pinned_nbytes() == 2 * kChunk + 10 * kMiB);
  const ArenaLease larger = test.Take(2 * kChunk + 14 * kMiB);
  DCP_CHECK_OK(test.Pin(larger));
  CHECK(test.pages.maps == 1);
  CHECK(test.device->pinned_nbytes() == 2 * kChunk + 14 * kMiB);
}

TEST_CASE("memory is unpinned before it is unmapped", "[staging]") {
  PinnedArena test;
  { DCP_CHECK_OK(test.Pin(test.Take(3 * kChunk))); }
  test.arena.ReleaseFree();
  CHECK(test.arena.nbytes() == 0);
  CHECK(test.device->pinned_nbytes() == 0);
}

TEST_CASE("a chunk that a lease has a part of stays mapped", "[staging]") {
  PinnedArena test;
  { DCP_CHECK_OK(test.Pin(test.Take(2 * kChunk))); }
  const ArenaLease part = test.Take(10 * kMiB);
  test.arena.ReleaseFree();
  CHECK(test.arena.nbytes() == kChunk);
  CHECK(test.device->pinned_nbytes() == kChunk);
  part.memory().back() = std::byte{1};
  // What is left of it serves the next one.
  DCP_CHECK_OK(test.Pin(test.Take(20 * kMiB)));
  CHECK(test.pages.maps == 1);
}

TEST_CASE("more than a limit is unmapped where chunks end later", "[staging]") {
  PinnedArena test;
  { DCP_CHECK_OK(test.Pin(test.Take(3 * kChunk))); }
  const ArenaLease lease = test.Take(kMiB, 2 * kChunk + kMiB);
  CHECK(test.arena.nbytes() == 2 * kChunk);
  CHECK(test.device->pinned_nbytes() == 2 * kChunk);
}

TEST_CASE("a chunk at the end of free memory does not keep the rest",
          "[staging]") {
  PinnedArena test;
  { DCP_CHECK_OK(test.Pin(test.Take(3 * kChunk))); }
  ArenaLease first = test.Take(160 * kMiB);
  const ArenaLease second = test.Take(10 * kMiB);  // of the third chunk
  first = ArenaLease();
  test.arena.ReleaseFree();
  CHECK(test.arena.nbytes() == kChunk);
  CHECK(test.device->pinned_nbytes() == kChunk);
  second.memory().back() = std::byte{1};
  // What is left before it serves the next one.
  DCP_CHECK_OK(test.Pin(test.Take(32 * kMiB)));
  CHECK(test.pages.maps == 1);
}

TEST_CASE("what cannot be pinned is told, and tried again", "[staging]") {
  PinnedArena test;
  test.device->LimitPinned(kChunk);
  const ArenaLease lease = test.Take(3 * kChunk);
  for (int round = 0; round < 2; ++round) {
    CHECK_THAT(std::string(Message(test.Pin(lease))),
               Catch::Contains("no more may be pinned"));
    CHECK(test.device->pinned_nbytes() == kChunk);
  }
  test.device->LimitPinned(kNoLimit);
  DCP_CHECK_OK(test.Pin(lease));
  CHECK(test.device->pinned_nbytes() == 3 * kChunk);
}

TEST_CASE("a chunk whose pinning throws is not taken for pinned", "[staging]") {
  PinnedArena test;
  const ArenaLease lease = test.Take(2 * kChunk);
  test.device->on_pin = []() -> Status { throw std::bad_alloc(); };
  CHECK(test.Pin(lease).code() == absl::StatusCode::kResourceExhausted);
  test.device->on_pin = nullptr;
  DCP_CHECK_OK(test.Pin(lease));
  CHECK(test.device->pinned_nbytes() == 2 * kChunk);
}

TEST_CASE("pinning ends when nobody needs it any more", "[staging]") {
  PinnedArena test;
  const ArenaLease lease = test.Take(3 * kChunk);
  const auto has_pinned = [&] { return test.device->pinned_nbytes() > 0; };
  CHECK(test.Pin(lease, has_pinned).code() == absl::StatusCode::kCancelled);
  CHECK(test.device->pinned_nbytes() == kChunk);
}

TEST_CASE("memory that was not unpinned keeps no other from being pinned",
          "[staging]") {
  PinnedArena test;
  { DCP_CHECK_OK(test.Pin(test.Take(2 * kChunk))); }
  test.device->on_unpin = [] { return InvalidArgument("it stays"); };
  test.arena.ReleaseFree();
  test.device->on_unpin = nullptr;
  DCP_CHECK_OK(test.arena.Prewarm(
      {.nbytes = kChunk, .max_nbytes = kNoLimit}, 1,
      PinFor{.runtime = test.device, .device = FakeDevice::kDevice}));
  DCP_CHECK_OK(test.Pin(test.Take(kChunk)));
  CHECK(test.device->pinned_nbytes() == kChunk);
  CHECK_THAT(std::string(Message(test.arena.TakeUnpinStatus())),
             Catch::Contains("it stays"));
  DCP_CHECK_OK(test.arena.TakeUnpinStatus());  // it is told once
}

TEST_CASE("prewarmed memory is pinned for a device", "[staging]") {
  PinnedArena test;
  const PinFor pin_for{.runtime = test.device, .device = FakeDevice::kDevice};
  DCP_CHECK_OK(test.arena.Prewarm({.nbytes = 9 * kMiB, .max_nbytes = kNoLimit},
                                  2, pin_for));
  CHECK(test.device->pinned_nbytes() >= 9 * kMiB);
  // A device that pins nothing does not fail it.
  test.device->LimitPinned(0);
  DCP_CHECK_OK(test.arena.Prewarm({.nbytes = 99 * kMiB, .max_nbytes = kNoLimit},
                                  2, pin_for));
}

/// Whether any page of `memory` is there.
bool IsTouched(std::span<std::byte> memory) {
  std::vector<unsigned char> pages(memory.size() / kPageSize);
  REQUIRE(::mincore(memory.data(), memory.size(), pages.data()) == 0);
  return std::any_of(pages.begin(), pages.end(),
                     [](unsigned char page) { return (page & 1) != 0; });
}

TEST_CASE("what a device copies to is asked for at its node, untouched",
          "[staging]") {
  for (const bool is_prewarmed : {false, true}) {
    PinnedArena test;
    test.device->host_node = 1;
    int64_t asked_for = 0;
    test.pages.on_prefer = [&](std::span<std::byte> memory, int node) {
      CHECK(node == 1);
      CHECK(IsTouched(memory) == (is_prewarmed && asked_for > 0));
      asked_for += static_cast<int64_t>(memory.size());
    };
    const int64_t nbytes = kChunk + 6 * kMiB;
    if (is_prewarmed) {
      const PinFor pin_for{.runtime = test.device,
                           .device = FakeDevice::kDevice};
      DCP_CHECK_OK(test.arena.Prewarm(
          {.nbytes = nbytes, .max_nbytes = kNoLimit}, 2, pin_for));
    }
    const ArenaLease lease = test.Take(nbytes);
    DCP_CHECK_OK(test.Pin(lease));
    CHECK(asked_for == (is_prewarmed ? 2 : 1) * nbytes);
    DCP_CHECK_OK(test.Pin(lease));  // it is pinned, and where it should be
    CHECK(asked_for == (is_prewarmed ? 2 : 1) * nbytes);
  }
}

TEST_CASE("on a host of one node memory is asked for anywhere", "[staging]") {
  PinnedArena test;
  test.pages.on_prefer = [](std::span<std::byte>, int) { FAIL("asked"); };
  const ArenaLease lease = test.Take(6 * kMiB);
  DCP_CHECK_OK(test.Pin(lease));
}

TEST_CASE("pinned leases of any sizes are pinned whole", "[staging]") {
  PinnedArena test;
  Random random(5);
  std::vector<ArenaLease> leases;
  for (int round = 0; round < 200; ++round) {
    if (leases.size() > 3) {
      leases.erase(leases.begin() + random.Between(0, 3));
    }
    leases.push_back(test.Take(random.Between(1, 90) * kMiB));
    DCP_CHECK_OK(test.Pin(leases.back()));
    // The device accepts a batch only inside of one chunk.
    const auto memory = leases.back().memory();
    auto borders = test.arena.PinBordersIn(memory);
    borders.push_back(memory.data() + memory.size());
    const auto copier =
        test.device->MakeCopier(FakeDevice::kDevice, CopyMethod::kBatched);
    DCP_CHECK_OK((*copier)->OrderAfter(FakeDevice::kStream));
    size_t at = 0;
    for (const std::byte* border : borders) {
      const auto end = static_cast<size_t>(border - memory.data());
      const DeviceCopy copy{.device_data = &test, .nbytes = 8};
      CHECK((*copier)
                ->Enqueue({.host = memory.subspan(at, end - at),
                           .is_pinned = true,
                           .copies = {&copy, 1}})
                .ok());
      at = end;
    }
    if (round % 5 != 0) continue;
    test.arena.ReleaseFree();
    CHECK(test.arena.nbytes() <=
          test.arena.leased_nbytes() +
              2 * kChunk * static_cast<int64_t>(leases.size()));
    // What is left that nobody has is of chunks that somebody has a part of.
    CHECK(test.arena.nbytes() - test.arena.leased_nbytes() <=
          test.device->pinned_nbytes());
  }
  leases.clear();
  test.arena.ReleaseFree();
  CHECK(test.arena.nbytes() == 0);
  CHECK(test.device->pinned_nbytes() == 0);
}

}  // namespace
}  // namespace dcp
