#include "staging/snapshot.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/tensor_cases.h"
#include "conformance/check_files.h"
#include "staging/test_pages.h"
#include "testing/fake_device.h"
#include "testing/gate.h"

namespace dcp {
namespace {

using testing::FakeDevice;
using testing::Gate;

constexpr int64_t kMiB = int64_t{1} << 20;

Status NothingToAsk() { return absl::OkStatus(); }

/// An arena, a device, and the thread of a snapshot.
struct Stage {
  std::unique_ptr<Snapshot> Make(std::vector<TensorView> views,
                                 int64_t max_nbytes = 64 * kMiB,
                                 bool copies_first = false) {
    return std::make_unique<Snapshot>(
        std::move(views), std::exchange(keep_alive, nullptr),
        SnapshotOptions{.max_nbytes = max_nbytes,
                        .threads = 3,
                        .copies_first = copies_first},
        SnapshotParts{.arena = arena, .device = device});
  }

  PagesRecord pages;
  HostArena arena{std::make_unique<TestPages>(pages)};
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  std::shared_ptr<void> keep_alive;
};

bool SameElements(const TensorView& a, const TensorView& b) {
  const auto itemsize = static_cast<size_t>(ItemSize(a.dtype));
  const auto at = [&](const TensorView& view, const Dims& index) {
    int64_t offset = 0;
    for (int d = 0; d < index.size(); ++d) offset += index[d] * view.strides[d];
    return static_cast<const std::byte*>(view.data) +
           offset * ItemSize(view.dtype);
  };
  for (int64_t e = 0; e < a.numel(); ++e) {
    const Dims index = IndexOfElement(e, a.sizes);
    if (std::memcmp(at(a, index), at(b, index), itemsize) != 0) return false;
  }
  return true;
}

TEST_CASE("copies of any layout have the elements of what was copied",
          "[staging]") {
  Random random(3);
  Stage stage;
  for (int round = 0; round < 100; ++round) {
    std::vector<OwnedTensor> tensors;
    std::vector<TensorView> views;
    for (int64_t i = random.Between(0, 20); i >= 0; --i) {
      const DType dtype = random.Pick({DType::kInt8, DType::kBFloat16,
                                       DType::kFloat32, DType::kComplex128});
      tensors.push_back(random.Strided(dtype, random.Sizes(4, 12),
                                       Random::Overlap::kAllowed));
      views.push_back(tensors.back().view);
    }
    const auto snapshot = stage.Make(views);
    snapshot->Run();
    DCP_CHECK_OK(snapshot->AwaitCallerFree(std::nullopt));
    DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
    for (size_t i = 0; i < views.size(); ++i) {
      const auto copy = snapshot->AwaitView(views[i], i, NothingToAsk);
      REQUIRE(copy.ok());
      CHECK((copy->data != views[i].data || views[i].numel() == 0));
      CHECK(SameElements(*copy, views[i]));
    }
    snapshot->EndUse();
    CHECK(stage.arena.leased_nbytes() == 0);
  }
}

TEST_CASE("a large tensor is copied whole by several threads", "[staging]") {
  Stage stage;
  std::vector<uint32_t> memory(static_cast<size_t>(8 * kMiB + 12345));
  for (size_t i = 0; i < memory.size(); ++i) {
    memory[i] = static_cast<uint32_t>(i * 2654435761U);
  }
  const auto size = static_cast<int64_t>(memory.size());
  TensorView odd = ContiguousView(memory.data(), DType::kInt32, {size / 2});
  odd.strides[0] = 2;  // has gaps: its elements are gathered
  const std::vector<TensorView> views = {
      ContiguousView(memory.data() + 1, DType::kInt32, {size - 1}), odd};
  const auto snapshot = stage.Make(views);
  snapshot->Run();
  CHECK(snapshot->is_copied());
  DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
  const auto whole = snapshot->AwaitView(views[0], 0, NothingToAsk);
  REQUIRE(whole.ok());
  CHECK(std::memcmp(whole->data, memory.data() + 1, (memory.size() - 1) * 4) ==
        0);
  const auto gathered = snapshot->AwaitView(odd, 1, NothingToAsk);
  REQUIRE(gathered.ok());
  const auto* values = static_cast<const uint32_t*>(gathered->data);
  bool same = gathered->is_contiguous();
  for (size_t i = 0; i < memory.size() / 2; ++i) {
    same = same && values[i] == memory[2 * i];
  }
  CHECK(same);
}

TEST_CASE("host memory is there while a device still copies", "[staging]") {
  Stage stage;
  Gate gate;
  stage.device->on_copy = [&] { gate.Pass(); };
  std::string memory(1000, 'x');
  const std::vector<TensorView> views = {
      FakeDevice::OnDevice(ContiguousView(memory.data(), DType::kInt8, {1000})),
      ContiguousView(memory.data(), DType::kInt8, {1000})};
  const auto snapshot = stage.Make(views);
  std::thread thread([&] { snapshot->Run(); });
  DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
  CHECK(snapshot->AwaitView(views[1], 1, NothingToAsk).ok());
  CHECK_FALSE(snapshot->IsThere(0));
  CHECK_FALSE(snapshot->is_caller_free());
  CHECK(snapshot->AwaitCallerFree(Clock::Duration(0)).code() ==
        absl::StatusCode::kDeadlineExceeded);
  // Who waits is asked now and then, and may have enough of it.
  const auto stopped = snapshot->AwaitView(
      views[0], 0, [] { return MakeStatus(absl::StatusCode::kAborted, "no"); });
  CHECK(stopped.status().code() == absl::StatusCode::kAborted);
  gate.Open();
  const auto copy = snapshot->AwaitView(views[0], 0, NothingToAsk);
  thread.join();
  REQUIRE(copy.ok());
  CHECK(copy->device.type == DeviceType::kCpu);
  CHECK(static_cast<const char*>(copy->data)[999] == static_cast<char>(~'x'));
}

TEST_CASE("copies of host memory may all come before the first is there",
          "[staging]") {
  Stage stage;
  std::vector<char> memory(static_cast<size_t>(128 * kMiB));
  std::string on_device(1000, 'x');
  std::vector<TensorView> views = {FakeDevice::OnDevice(
      ContiguousView(on_device.data(), DType::kInt8, {1000}))};
  for (int64_t at = 0; at < 128 * kMiB; at += kMiB) {
    views.push_back(ContiguousView(memory.data() + at, DType::kInt8, {kMiB}));
  }
  Gate gate;
  stage.device->on_copy = [&] { gate.Pass(); };
  const auto snapshot = stage.Make(views, 256 * kMiB, /*copies_first=*/true);
  std::thread thread([&] { snapshot->Run(); });
  DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
  const auto first = snapshot->AwaitView(views[1], 1, NothingToAsk);
  // Those of devices may come later.
  const int64_t copied = snapshot->nbytes_copied();
  CHECK_FALSE(snapshot->IsThere(0));
  gate.Open();
  thread.join();
  CHECK(first.ok());
  CHECK(copied >= 128 * kMiB);
  CHECK(snapshot->IsThere(0));
}

TEST_CASE("the caller's owner is let go when everything is copied",
          "[staging]") {
  Stage stage;
  std::string memory(100, 'x');
  const auto owner = std::make_shared<int>(0);
  stage.keep_alive = owner;
  const auto snapshot =
      stage.Make({ContiguousView(memory.data(), DType::kInt8, {100})});
  CHECK(owner.use_count() == 2);
  snapshot->Run();
  CHECK(owner.use_count() == 1);
}

TEST_CASE("what is streamed keeps its owner until it is written", "[staging]") {
  Stage stage;
  std::string memory(100, 'x');
  const auto owner = std::make_shared<int>(0);
  stage.keep_alive = owner;
  const std::vector<TensorView> views = {
      ContiguousView(memory.data(), DType::kInt8, {100})};
  const auto snapshot = stage.Make(views, 0);
  snapshot->Run();
  CHECK_FALSE(snapshot->is_caller_free());
  DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
  CHECK(snapshot->AwaitView(views[0], 0, NothingToAsk)->data == memory.data());
  CHECK(owner.use_count() == 2);
  snapshot->EndStreaming();
  CHECK(snapshot->is_caller_free());
  CHECK(owner.use_count() == 1);
  CHECK(snapshot->AwaitView(views[0], 0, NothingToAsk).status().code() ==
        absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("a snapshot without room is streamed if its use comes first",
          "[staging]") {
  Stage stage;
  std::string memory(100, 'x');
  const std::vector<TensorView> views = {
      ContiguousView(memory.data(), DType::kInt8, {100})};
  const auto first = stage.Make(views, 4096);
  first->Run();
  const auto second = stage.Make(views, 4096);
  const auto third = stage.Make(views, 4096);
  std::thread second_thread([&] { second->Run(); });
  DCP_CHECK_OK(second->BeginUse(NothingToAsk));
  second_thread.join();
  CHECK(second->streams_all());
  CHECK(second->IsStreamed(0));
  // One that is not used yet waits for the room.
  std::thread third_thread([&] { third->Run(); });
  CHECK(third->AwaitCallerFree(Clock::Duration(0)).code() ==
        absl::StatusCode::kDeadlineExceeded);
  first->EndUse();
  DCP_CHECK_OK(third->AwaitCallerFree(std::nullopt));
  third_thread.join();
  CHECK_FALSE(third->streams_all());
}

TEST_CASE("without memory everything is streamed", "[staging]") {
  Stage stage;
  stage.pages.max_map = 1;
  std::string memory(100, 'x');
  const auto snapshot =
      stage.Make({ContiguousView(memory.data(), DType::kInt8, {100})});
  snapshot->Run();
  CHECK(snapshot->streams_all());
  DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
  snapshot->EndUse();
  DCP_CHECK_OK(snapshot->AwaitCallerFree(std::nullopt));
}

TEST_CASE("a copy that fails is an error of the wait and of the use",
          "[staging]") {
  Stage stage;
  stage.device->FailFrom(1);
  std::string memory(100, 'x');
  TensorView gaps = ContiguousView(memory.data(), DType::kInt8, {50});
  gaps.strides[0] = 2;
  for (const TensorView& view :
       {ContiguousView(memory.data(), DType::kInt8, {100}), gaps}) {
    const auto snapshot = stage.Make({FakeDevice::OnDevice(view)});
    snapshot->Run();
    const Status waited = snapshot->AwaitCallerFree(std::nullopt);
    CHECK_FALSE(waited.ok());
    CHECK(snapshot->BeginUse(NothingToAsk) == waited);
    CHECK(stage.arena.leased_nbytes() == 0);
  }
}

TEST_CASE("cancelling ends waits for memory, copies and uses", "[staging]") {
  Stage stage;
  std::string memory(100, 'x');
  const std::vector<TensorView> views = {
      ContiguousView(memory.data(), DType::kInt8, {100})};
  const auto holder = stage.Make(views, 4096);
  holder->Run();
  const auto waiting = stage.Make(views, 4096);
  std::thread thread([&] { waiting->Run(); });
  waiting->Cancel();
  thread.join();
  DCP_CHECK_OK(waiting->AwaitCallerFree(std::nullopt));
  CHECK(waiting->BeginUse(NothingToAsk).code() ==
        absl::StatusCode::kFailedPrecondition);

  DCP_CHECK_OK(holder->BeginUse(NothingToAsk));
  holder->Cancel();
  CHECK(GetErrorDetail(holder->Check())->op == kCancelOp);
  // The use may still be reading.
  CHECK(stage.arena.leased_nbytes() > 0);
  holder->EndUse();
  CHECK(stage.arena.leased_nbytes() == 0);
}

}  // namespace
}  // namespace dcp
