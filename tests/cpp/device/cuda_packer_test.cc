#include "device/cuda_packer.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "dcp/device_runtime.h"
#include "device/stand_in.h"

namespace dcp {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

/// Copies of these sizes, one behind the other.
std::vector<DeviceCopy> Copies(const std::vector<size_t>& sizes) {
  std::vector<DeviceCopy> copies;
  size_t offset = 12345;
  for (size_t nbytes : sizes) {
    copies.push_back({.offset = offset, .nbytes = nbytes});
    offset += nbytes;
  }
  return copies;
}

TEST_CASE("small neighbors are packed, as many as there is room for",
          "[device]") {
  struct Case {
    std::vector<size_t> sizes;
    size_t count;
    bool is_packed;
  };
  const std::vector<size_t> many(100, kMiB);
  const std::vector<size_t> tiny(CudaPacker::kMaxPieces + 5, 1);
  for (const Case& test :
       {Case{{8}, 1, false}, Case{{8, 8}, 2, true}, Case{{8, 8, 8}, 3, true},
        Case{{8, 8, kMiB + 1, 8}, 2, true}, Case{{8, kMiB + 1}, 1, false},
        Case{{kMiB + 1, 8, 8}, 1, false}, Case{many, 32, true},
        Case{tiny, CudaPacker::kMaxPieces, true}}) {
    const auto copies = Copies(test.sizes);
    const PackRun run = NextPackRun(copies);
    INFO(test.sizes.size() << " copies, the first of " << test.sizes[0]);
    CHECK(run.copies.data() == copies.data());
    CHECK(run.copies.size() == test.count);
    CHECK(run.is_packed == test.is_packed);
  }
}

bool CanPack() {
  const bool can_pack = PackKernelState() == "built in";
  if (!can_pack) WARN("NO PACKING TESTED: " << PackKernelState());
  return can_pack;
}

TEST_CASE("a build knows whether it can pack", "[device]") {
  const bool can_pack = CanPack();
  for (bool is_pinned : {true, false}) {
    StandInState& driver = Driver();
    const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
    Tensors tensors;
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
    REQUIRE(copier.ok());
    REQUIRE(CopyAll(**copier, tensors.Batch(is_pinned)).ok());
    CHECK(tensors.AreCopied());
    const std::string copies =
        !is_pinned ? "copy(own) copy(own) copy(own) copy(own) copy(own) "
                     "copy(own) "
        : can_pack ? "pack(own) record(own) copy(own) "
                     "pack(own) record(own) copy(own) "
                     "copy(own) "
                   : "batch(own) ";
    CHECK(driver.log == "record(caller) wait(own) " + copies + "record(own) ");
  }
}

TEST_CASE("a table is filled again when the kernel has read it", "[device]") {
  StandInState& driver = Driver();
  auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  // Ten runs, for four tables.
  std::vector<size_t> sizes;
  for (size_t run = 0; run < 10; ++run) {
    sizes.insert(sizes.end(), {100 + run, 200 + run, kMiB + 1});
  }
  Tensors tensors(sizes);
  driver.is_late = true;
  {
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
    REQUIRE(copier.ok());
    REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
  }
  CHECK(tensors.AreCopied());
  CHECK(driver.calls[kStandInLaunch] == (CanPack() ? 10 : 0));
}

TEST_CASE("a packer serves one copier after the other", "[device]") {
  if (!CanPack()) return;
  StandInState& driver = Driver();
  auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  for (int save = 1; save <= 3; ++save) {
    driver.is_late = true;
    Tensors tensors;
    {
      const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
      REQUIRE(copier.ok());
      REQUIRE((*copier)->Enqueue(tensors.Batch()).ok());
    }
    CHECK(tensors.AreCopied());
    CHECK(driver.calls[kStandInModule] == 1);
  }
  {
    // Two at a time have one each; one of them is kept.
    const auto first = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
    const auto second = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
    CHECK((first.ok() && second.ok()));
    CHECK(driver.calls[kStandInModule] == 2);
  }
  CHECK(runtime->MakeCopier(kSecond, CopyMethod::kPacked).ok());
  CHECK(driver.calls[kStandInModule] == 2);
  runtime.reset();
  CHECK(driver.objects == 0);
}

TEST_CASE("a device that is lost keeps no packer", "[device]") {
  if (!CanPack()) return;
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  {
    const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
    REQUIRE(copier.ok());
    driver.failing_call = kStandInSynchronize;
    driver.error = 700;
  }
  CHECK(driver.objects == 0);
}

TEST_CASE("a launch that fails is named", "[device]") {
  if (!CanPack()) return;
  StandInState& driver = Driver();
  const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
  driver.failing_call = kStandInLaunch;
  driver.error = 700;
  Tensors tensors;
  const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
  REQUIRE(copier.ok());
  CHECK_THAT(std::string(Message(CopyAll(**copier, tensors.Batch()))),
             Catch::Contains("cuLaunchKernel") &&
                 Catch::Contains("illegal memory access"));
}

TEST_CASE("a device that has no room for packing copies batches", "[device]") {
  for (StandInCall call : {kStandInModule, kStandInAllocate}) {
    StandInState& driver = Driver();
    const auto runtime = MakeCudaRuntimeFrom(DCP_STAND_IN_DRIVER);
    driver.failing_call = call;
    driver.error = 2;
    Tensors tensors;
    {
      const auto copier = runtime->MakeCopier(kSecond, CopyMethod::kPacked);
      REQUIRE(copier.ok());
      REQUIRE(CopyAll(**copier, tensors.Batch()).ok());
    }
    CHECK(tensors.AreCopied());
    CHECK(driver.calls[kStandInBatch] == 1);
    CHECK(driver.objects == 0);
  }
}

}  // namespace
}  // namespace dcp
