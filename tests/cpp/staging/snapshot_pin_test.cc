// Snapshots whose memory is pinned for devices.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "conformance/check_files.h"
#include "staging/device_stage.h"
#include "staging/snapshot.h"
#include "testing/gate.h"

namespace dcp {
namespace {

TEST_CASE("what cannot be pinned is copied all the same, and told of",
          "[staging][device]") {
  for (int64_t room : {int64_t{0}, 64 * kMiB}) {
    DeviceStage stage;
    stage.device->LimitPinned(room);
    DeviceTensors tensors({static_cast<size_t>(100 * kMiB), 1000}, false);
    tensors.Compute();
    const auto snapshot = stage.Make(tensors.views);
    snapshot->Run();
    DCP_CHECK_OK(snapshot->AwaitCallerFree(std::nullopt));
    CHECK_THAT(std::string(Message(snapshot->pin_status())),
               Catch::Contains("no more may be pinned"));
    CHECK(HoldsAll(*snapshot, tensors));
  }
}

TEST_CASE("only what devices copy to is pinned", "[staging][device]") {
  DeviceStage stage;
  std::string memory(static_cast<size_t>(8 * kMiB), 'x');
  DeviceTensors tensors({1000}, false);
  std::vector<TensorView> views = {
      ContiguousView(memory.data(), DType::kInt8, {8 * kMiB})};
  stage.Make(views)->Run();
  CHECK(stage.device->pinned_nbytes() == 0);
  views.push_back(tensors.views[0]);
  stage.Make(views)->Run();
  CHECK(stage.device->pinned_nbytes() <= 2 * HostArena::kPage);
  CHECK(stage.device->pinned_nbytes() > 0);
}

TEST_CASE("host memory is there while a device's is pinned", "[staging]") {
  DeviceStage stage;
  testing::Gate gate;
  stage.device->on_pin = [&] {
    gate.Pass();
    return absl::OkStatus();
  };
  // Both lanes have a part of one page.
  std::string memory(1000, 'x');
  DeviceTensors tensors({1000}, false);
  tensors.Compute();
  const auto view = ContiguousView(memory.data(), DType::kInt8, {1000});
  const auto snapshot = stage.Make({view, tensors.views[0]});
  std::thread running([&] { snapshot->Run(); });
  gate.AwaitWaiting(1);
  DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
  const auto copy = snapshot->AwaitView(view, 0, NothingToAsk);
  CHECK(copy.ok());
  CHECK_FALSE(snapshot->IsThere(1));
  gate.Open();
  CHECK(snapshot->AwaitView(tensors.views[0], 1, NothingToAsk).ok());
  running.join();
  CHECK(std::string(static_cast<const char*>(copy->data), 1000) == memory);
}

TEST_CASE("a use that comes while memory is pinned streams nothing",
          "[staging]") {
  DeviceStage stage;
  testing::Gate gate;
  DeviceTensors tensors({100}, false);
  tensors.Compute();
  const auto first = stage.Make(tensors.views, {.max_nbytes = 4096});
  first->Run();
  // So that the second one's is pinned again.
  stage.device->on_pin = [&] {
    gate.Pass();
    return absl::OkStatus();
  };
  std::string memory(5000, 'x');
  const auto second = stage.Make(
      {tensors.views[0], ContiguousView(memory.data(), DType::kInt8, {5000})},
      {.max_nbytes = 8192});
  std::thread running([&] { second->Run(); });
  CHECK(second->AwaitCallerFree(Clock::Duration(0)).code() ==
        absl::StatusCode::kDeadlineExceeded);
  first->EndUse();
  gate.AwaitWaiting(1);
  DCP_CHECK_OK(second->BeginUse(NothingToAsk));
  CHECK_FALSE(second->streams_all());
  gate.Open();
  running.join();
  const auto copy = second->AwaitView(tensors.views[0], 0, NothingToAsk);
  CHECK((copy.ok() && tensors.IsCopy(0, *copy)));
}

TEST_CASE("cancelling ends the pinning", "[staging]") {
  DeviceStage stage;
  DeviceTensors tensors({static_cast<size_t>(200 * kMiB)}, false);
  const auto snapshot = stage.Make(tensors.views);
  int pins = 0;
  stage.device->on_pin = [&] {
    ++pins;
    snapshot->Cancel();
    return absl::OkStatus();
  };
  snapshot->Run();
  CHECK(pins == 1);
  CHECK(stage.device->copies() == 0);
  DCP_CHECK_OK(snapshot->pin_status());
  CHECK(stage.arena.leased_nbytes() == 0);
}

TEST_CASE("what was not unpinned is told of, and devices copy to pinned memory",
          "[staging]") {
  DeviceStage stage;
  DeviceTensors tensors({1000}, false);
  tensors.Compute();
  stage.Make(tensors.views)->Run();
  stage.device->on_unpin = [] { return InvalidArgument("it stays"); };
  stage.arena.ReleaseFree();
  const auto snapshot = stage.Make(tensors.views);
  snapshot->Run();
  CHECK_THAT(std::string(Message(snapshot->pin_status())),
             Catch::Contains("it stays"));
  CHECK(stage.device->pinned_nbytes() > 0);
  CHECK(HoldsAll(*snapshot, tensors));
}

}  // namespace
}  // namespace dcp
