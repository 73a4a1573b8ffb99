// Snapshots of device memory, on a fake device whose time and order are a
// test's.

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/tensor_cases.h"
#include "conformance/check_files.h"
#include "staging/device_stage.h"
#include "staging/device_stager.h"
#include "staging/snapshot.h"

namespace dcp {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;
using testing::FakeDevice;
using testing::SleepMode;
using testing::StreamTiming;

struct Schedule {
  StreamTiming timing;
  std::vector<size_t> sizes;
  bool on_both = false;
  SnapshotOptions options;
};

Schedule AnySchedule(uint64_t seed) {
  Random random(seed);
  Schedule schedule{
      .timing = {.latency = microseconds(random.Between(0, 100)),
                 .bytes_per_second = random.Pick({0.0, 1e9, 5e10}),
                 .max_event_delay = microseconds(random.Between(0, 5000)),
                 .seed = seed},
      .on_both = random.Between(0, 1) == 1};
  for (int64_t i = random.Between(0, 60); i >= 0; --i) {
    schedule.sizes.push_back(static_cast<size_t>(random.Between(1, 20000)));
  }
  // Every now and then several units, and memory pinned in several chunks.
  if (seed % 20 == 0) {
    schedule.sizes.push_back(
        static_cast<size_t>(random.Between(70, 90) * kMiB));
  }
  schedule.options.pins_memory = random.Between(0, 3) > 0;
  schedule.options.copy_method =
      random.Pick({CopyMethod::kBatched, CopyMethod::kPacked});
  return schedule;
}

TEST_CASE(
    "what is staged is what the caller's stream computes, whatever the "
    "schedule",
    "[staging][device]") {
  for (uint64_t seed = 0; seed < 80; ++seed) {
    INFO("seed " << seed);
    const Schedule schedule = AnySchedule(seed);
    DeviceStage stage(schedule.timing);
    DeviceTensors tensors(schedule.sizes, schedule.on_both);
    stage.device->Enqueue([&] { tensors.Compute(); });
    const auto snapshot = stage.Make(tensors.views, schedule.options);
    snapshot->Run();
    DCP_CHECK_OK(snapshot->AwaitCallerFree(std::nullopt));
    tensors.Overwrite();  // right after the fence
    CHECK(HoldsAll(*snapshot, tensors));
    DCP_CHECK_OK(snapshot->pin_status());
    CHECK(stage.device->copiers() == 0);
    CHECK(stage.arena.leased_nbytes() == 0);
  }
}

TEST_CASE("no copy is read before its event has passed", "[staging][device]") {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    INFO("seed " << seed);
    const Schedule schedule = AnySchedule(seed);
    DeviceStage stage(schedule.timing);
    DeviceTensors tensors(schedule.sizes, schedule.on_both);
    stage.device->Enqueue([&] { tensors.Compute(); });
    const auto snapshot = stage.Make(tensors.views, schedule.options);
    std::thread running([&] { snapshot->Run(); });
    CHECK(HoldsAll(*snapshot, tensors));  // each as soon as it is there
    running.join();
  }
}

TEST_CASE("without the fence a step gets into the copy", "[staging][device]") {
  for (bool waits : {true, false}) {
    DeviceStage stage({.latency = seconds(1)}, SleepMode::kWaits);
    DeviceTensors tensors({1000, 2000}, false);
    tensors.Compute();
    const auto snapshot = stage.Make(tensors.views);
    std::thread running([&] { snapshot->Run(); });
    stage.clock->WaitForSleepers(1);  // the copies are under way
    CHECK_FALSE(snapshot->is_caller_free());
    if (!waits) tensors.Overwrite();
    stage.clock->Advance(seconds(100));
    DCP_CHECK_OK(snapshot->AwaitCallerFree(std::nullopt));
    if (waits) tensors.Overwrite();
    running.join();
    CHECK(HoldsAll(*snapshot, tensors) == waits);
  }
}

TEST_CASE("many tensors are few batches", "[staging][device]") {
  DeviceStage stage;
  DeviceTensors tensors(std::vector<size_t>(2000, 700), false);
  tensors.Compute();
  const auto snapshot = stage.Make(tensors.views);
  snapshot->Run();
  CHECK(stage.device->copies() == 2000);
  CHECK(stage.device->batches() == 1);
  CHECK(HoldsAll(*snapshot, tensors));
}

TEST_CASE("a copy that fails fails the snapshot and leaves nothing",
          "[staging][device]") {
  for (auto failure : {FakeDevice::Failure::kWhenEnqueued,
                       FakeDevice::Failure::kWhenAwaited}) {
    for (int64_t number : {1, 2, 3, 4}) {
      DeviceStage stage({.latency = seconds(1), .max_event_delay = seconds(2)});
      const auto mib = [](int64_t n) { return static_cast<size_t>(n * kMiB); };
      DeviceTensors tensors({mib(1), mib(40), mib(1)}, number % 2 == 0);
      stage.device->FailFrom(number, failure);
      const auto snapshot = stage.Make(tensors.views);
      snapshot->Run();
      const Status staged = snapshot->AwaitCallerFree(std::nullopt);
      CHECK_THAT(std::string(Message(staged)),
                 Catch::Contains("the device fell off"));
      CHECK(snapshot->BeginUse(NothingToAsk) == staged);
      CHECK(stage.device->copiers() == 0);
      CHECK(stage.arena.leased_nbytes() == 0);
      stage.arena.ReleaseFree();
      CHECK(stage.device->pinned_nbytes() == 0);
    }
  }
}

TEST_CASE("a snapshot on a device that has no copier fails", "[staging]") {
  DeviceStage stage;
  DeviceTensors tensors({100}, false);
  tensors.views[0].device.index = 7;
  const auto snapshot = stage.Make(tensors.views);
  snapshot->Run();
  CHECK_THAT(std::string(Message(snapshot->AwaitCallerFree(std::nullopt))),
             Catch::Contains("another device"));
  CHECK(stage.arena.leased_nbytes() == 0);
}

TEST_CASE("cancelling waits for copies that are in flight, and for no others",
          "[staging][device]") {
  DeviceStage stage({.latency = seconds(1)}, SleepMode::kWaits);
  DeviceTensors tensors({static_cast<size_t>(200 * kMiB)}, false);
  const auto snapshot = stage.Make(tensors.views);
  std::thread running([&] { snapshot->Run(); });
  stage.clock->WaitForSleepers(1);
  snapshot->Cancel();
  CHECK(stage.arena.leased_nbytes() > 0);  // they still write to it
  stage.clock->Advance(seconds(100));
  running.join();
  CHECK(stage.device->batches() < 200 * kMiB / DeviceStager::kUnit);
  CHECK(stage.device->copiers() == 0);
  CHECK(stage.arena.leased_nbytes() == 0);
}

TEST_CASE("copies keep to their rate", "[staging][device]") {
  DeviceStage stage;
  DeviceTensors tensors({static_cast<size_t>(70 * kMiB)}, false);
  tensors.Compute();
  const auto begin = stage.clock->Now();
  const auto snapshot = stage.Make(
      tensors.views,
      {.copy_rate = WriteRate::Make(DeviceStager::kUnit, stage.clock)});
  snapshot->Run();
  // Two units took their second; the last one began when they were over.
  CHECK(stage.clock->Now() - begin == seconds(2));
  CHECK(HoldsAll(*snapshot, tensors));
}

TEST_CASE("what is streamed does not wait for work that the caller adds later",
          "[staging][device]") {
  for (bool has_thread : {true, false}) {
    DeviceStage stage({.latency = seconds(1)});
    DeviceTensors tensors({1000, 2000}, true);
    stage.device->Enqueue([&] { tensors.Compute(); });
    const auto snapshot = stage.Make(tensors.views, {.max_nbytes = 1});
    const auto begin = stage.clock->Now();
    for (int step = 0; step < 100; ++step) stage.device->Enqueue([] {});
    if (has_thread) {
      snapshot->Run();
    } else {
      snapshot->StreamAll();
    }
    DCP_CHECK_OK(snapshot->BeginUse(NothingToAsk));
    for (size_t i : {0, 1}) {
      const auto view = snapshot->AwaitView(tensors.views[i], i, NothingToAsk);
      REQUIRE(view.ok());
      REQUIRE(view->device.type == DeviceType::kCuda);
      std::string host(tensors.values[i].size(), '-');
      DCP_CHECK_OK(stage.device->CopyToHost(
          host.data(), view->data, host.size(), view->device, view->stream));
      CHECK(host == FakeDevice::TurnedOver(tensors.memory[i]));
      CHECK(host == FakeDevice::TurnedOver(tensors.values[i]));
    }
    CHECK(stage.clock->Now() - begin < seconds(10));
    CHECK(stage.device->copiers() == 2);
    snapshot->EndStreaming();
    CHECK(stage.device->copiers() == 0);
    snapshot->EndUse();
  }
}

TEST_CASE("what is streamed keeps to the rate of copies", "[staging][device]") {
  DeviceStage stage;
  DeviceTensors tensors({1000}, false);
  const auto snapshot = stage.Make(
      tensors.views, {.copy_rate = WriteRate::Make(1000, stage.clock)});
  const auto begin = stage.clock->Now();
  for (int i = 0; i < 3; ++i) {
    DCP_CHECK_OK(snapshot->AwaitCopyRate(2000, NothingToAsk));
  }
  CHECK(stage.clock->Now() - begin == seconds(4));
  const Status away = InvalidArgument("another rank left");
  CHECK(snapshot->AwaitCopyRate(1 << 20, [&] { return away; }) == away);
}

}  // namespace
}  // namespace dcp
