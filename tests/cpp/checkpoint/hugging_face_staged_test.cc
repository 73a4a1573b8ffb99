// Asynchronous saves into safetensors files that fail.

#include <catch2/catch.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/staged_saves.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;
using testing::FakeDevice;

constexpr size_t kRanks = 3;

/// The ranks' states; in that of `bad` is a tensor that no device copies.
std::vector<StatusOr<std::shared_ptr<StagedState>>> StagedOn(
    AllEntries& entries, std::vector<Stage>& stages, size_t bad,
    std::string& memory) {
  std::vector<StatusOr<std::shared_ptr<StagedState>>> staged;
  for (size_t rank = 0; rank < kRanks; ++rank) {
    std::vector<SaveEntry> mine(entries[rank].span().begin(),
                                entries[rank].span().end());
    if (rank == bad) {
      stages[rank].device->FailFrom(1);
      mine.push_back(
          TensorEntry("device", FakeDevice::OnDevice(ContiguousView(
                                    memory.data(), DType::kUInt8,
                                    {static_cast<int64_t>(memory.size())}))));
    }
    staged.emplace_back(stages[rank].Begin(std::move(mine)));
  }
  return staged;
}

TEST_CASE("a rank whose copies fail does not keep the others waiting",
          "[checkpoint][staging][hugging_face]") {
  State state;
  state.tensors["w"] =
      conformance::RandomTensor(1, DType::kFloat32, {2048, 2048});
  AllEntries entries = Sharded(state, kRanks);
  std::vector<Stage> stages(kRanks);
  std::string memory(4000, 'x');
  const size_t bad = GENERATE(0, 1, 2);
  const auto staged = StagedOn(entries, stages, bad, memory);
  const Place place(MakeMemoryFileSystem(), "/m");
  const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
  const auto start = std::chrono::steady_clock::now();
  const auto saved = OnRanks<StatusOr<SaveResult>>(kRanks, [&](size_t rank) {
    const auto writer =
        MakeHuggingFaceWriter(place.options, {.file_system = place.fs});
    return dcp::Save(staged[rank], *writer, *transports[rank], {});
  });
  // The others would wait half an hour for data of a rank that is there.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
  const RankFailures failures = RequireSameFailures(saved);
  CHECK_THAT(std::string(Message(failures.by_rank.at(static_cast<int>(bad)))),
             Contains("the device fell off"));
  CHECK(place.names().empty());
}

TEST_CASE("what is streamed from a device into safetensors is read at its rate",
          "[checkpoint][staging][hugging_face][device]") {
  State state;
  std::deque<std::string> memory;
  std::vector<SaveEntry> entries;
  for (const char* fqn : {"a", "b"}) {
    state.tensors[fqn] =
        conformance::RandomTensor(memory.size(), DType::kUInt8, {1'500'000});
    memory.push_back(FakeDevice::TurnedOver(state.tensors[fqn].bytes));
    entries.push_back(TensorEntry(
        fqn, FakeDevice::OnDevice(ContiguousView(memory.back().data(),
                                                 DType::kUInt8, {1'500'000}))));
  }
  Stage stage;
  Mutex mutex;
  std::vector<std::chrono::steady_clock::time_point> copies;
  stage.device->on_copy = [&] {
    const MutexLock lock(mutex);
    copies.push_back(std::chrono::steady_clock::now());
  };
  const Place place(MakeMemoryFileSystem(), "/m");
  const auto staged =
      stage.Begin(entries, {.max_nbytes = 0, .max_copy_rate = 10'000'000});
  const auto writer = MakeHuggingFaceWriter(
      place.options, {.file_system = place.fs, .device_runtime = stage.device});
  const auto transport = MakeSingleProcessTransport();
  RequireSaved(dcp::Save(staged, *writer, *transport, {}));
  CHECK(place.Read("model.safetensors") == WholeFile(state));
  // All of it takes 0.3 s at this rate, and nothing is read ahead of it.
  REQUIRE(copies.size() > 2);
  CHECK(copies.back() - copies.front() > std::chrono::milliseconds(150));
}

}  // namespace
}  // namespace dcp
