#include "dcp/saver.h"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "saver/saver_cases.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::SmallState;
using conformance::State;
using conformance::VariedState;

std::unique_ptr<AsyncSaveHandle> SaveBy(const std::shared_ptr<Saver>& saver,
                                        State& state, const std::string& path) {
  return AsyncSave(
      EntriesOf(state), nullptr,
      {.writer = WriterTo(path), .transport = MakeSingleProcessTransport()},
      {.staging = {.saver = saver}});
}

std::string ProcFile(int process, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(process) + "/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("a saver saves what was staged, and can be asked again", "[saver]") {
  const testing::TempDirectory directory;
  const auto saver = MakeSaver();
  CHECK_FALSE(saver->process_id());
  std::set<int> processes;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    State state = VariedState(seed);
    const State before = state;
    const std::string path = directory.path() + "/ckpt";
    const auto save = SaveBy(saver, state, path);
    DCP_CHECK_OK(save->WaitStaged());
    for (auto& [fqn, tensor] : state.tensors) {
      tensor.bytes.assign(tensor.bytes.size(), '!');
    }
    RequireSaved(save->Wait());
    CHECK(save->progress().is_handed_over);
    CHECK(save->Wait()->metadata().ok());
    CheckHolds(StorageIn(path), before);
    processes.insert(saver->process_id().value());
  }
  CHECK(processes.size() == 1);
  CHECK(saver->memory_nbytes() > 0);
  saver->ReleaseMemory();
  CHECK(saver->memory_nbytes() == 0);
}

TEST_CASE("a saver's process has nothing of its trainer but two descriptors",
          "[saver]") {
  const auto saver = MakeSaver();
  DCP_CHECK_OK(saver->Start());
  const int process = saver->process_id().value();
  CHECK(::getsid(process) == process);
  const testing::TempDirectory directory;
  State state = SmallState(1);
  RequireSaved(SaveBy(saver, state, directory.path() + "/ckpt")->Wait());
  std::set<std::string> descriptors;
  const std::string folder = "/proc/" + std::to_string(process) + "/fd";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    descriptors.insert(entry.path().filename());
  }
  for (const char* fd : {"0", "1", "2", "3", "4"}) descriptors.erase(fd);
  CHECK(descriptors.empty());
  const std::string maps = ProcFile(process, "maps");
  CHECK_THAT(maps, Contains("dcpcpp_saver"));
  CHECK_THAT(maps, !Contains("libcuda") && !Contains("libpython"));
}

TEST_CASE("a saver ends with its trainer", "[saver]") {
  auto saver = MakeSaver();
  DCP_CHECK_OK(saver->Start());
  const int process = saver->process_id().value();
  saver.reset();
  CHECK(::kill(process, 0) != 0);
}

TEST_CASE("savers of several ranks make one checkpoint", "[saver]") {
  const bool together = GENERATE(true, false);
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/ckpt";
  SaverRanks ranks(3);
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    const State state = VariedState(seed);
    AllEntries entries = Sharded(state, 3);
    const auto handles =
        ranks.Begin(entries, path, false, {.use_collectives = together});
    for (const auto& handle : handles) RequireSaved(handle->Wait());
    if (together) CheckHolds(StorageIn(path), state);
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      CHECK_THAT(entry.path().filename().string(), !Contains(".record"));
    }
  }
}

/// What was saved changes as soon as it may.
void ChangeWhenStaged(const SaverRanks::Handles& handles, AllEntries& all) {
  for (size_t rank = 0; rank < all.size(); ++rank) {
    DCP_CHECK_OK(handles[rank]->WaitStaged());
    for (SaveEntry& entry : all[rank].entries()) {
      const auto* shard = std::get_if<TensorShard>(&entry.value);
      if (shard == nullptr) continue;
      const TensorView& view = shard->view;
      std::memset(view.data, '!', NbytesInMemory(view).value_or(0));
    }
  }
}

TEST_CASE("where a rank's state does not fit, all ranks save in threads",
          "[saver]") {
  const bool together = GENERATE(true, false);
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/ckpt";
  SaverRanks ranks(2);
  uint64_t seed = 0;
  for (const int64_t limit : {8 * kMiB, int64_t{4096}, 8 * kMiB}) {
    const State state = VariedState(++seed);
    AllEntries entries = Sharded(state, 2);
    const auto handles =
        ranks.Begin(entries, path, false, {.use_collectives = together}, limit);
    ChangeWhenStaged(handles, entries);
    for (const auto& handle : handles) {
      RequireSaved(handle->Wait());
      const Status shared = handle->WaitHandedOver();
      CHECK(shared.ok() == (limit > 4096));
      if (shared.ok()) continue;
      CHECK(shared.code() == absl::StatusCode::kResourceExhausted);
      CHECK_THAT(std::string(Message(shared)),
                 Contains("rank 1 has no room for "));
    }
    if (together) CheckHolds(StorageIn(path), state);
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      CHECK_THAT(entry.path().filename().string(), !Contains(".record"));
    }
  }
}

TEST_CASE("a save goes on when its trainer is killed", "[saver]") {
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/ckpt";
  State state = SmallState(1);
  const pid_t trainer = ::fork();
  if (trainer == 0) {
    auto saver = Saver::Make({.program = DCP_SAVER_PROGRAM});
    if (!saver.ok()) ::_exit(1);
    const auto save = SaveBy(*saver, state, path);
    if (!save->WaitHandedOver().ok()) ::_exit(2);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(trainer, &status, 0) == trainer);
  REQUIRE(WIFSIGNALED(status));
  while (!std::filesystem::exists(path + "/.metadata")) {
    std::this_thread::yield();
  }
  CheckHolds(StorageIn(path), state);
}

size_t FileCount(const std::string& path) {
  return static_cast<size_t>(
      std::distance(std::filesystem::directory_iterator(path), {}));
}

TEST_CASE("a state that does not fit is not saved if its trainer is killed",
          "[saver]") {
  const testing::TempDirectory directory;
  const std::string path = directory.path() + "/ckpt";
  State state = VariedState(1);
  RequireSaved(SaveBy(MakeSaver(), state, path)->Wait());
  const size_t files = FileCount(path);
  State next = VariedState(2);
  const pid_t trainer = ::fork();
  if (trainer == 0) {
    auto saver = Saver::Make({.program = DCP_SAVER_PROGRAM});
    if (!saver.ok()) ::_exit(1);
    const auto save = AsyncSave(
        EntriesOf(next), nullptr,
        {.writer = WriterTo(path, /*is_slow=*/true),
         .transport = MakeSingleProcessTransport()},
        {.staging = {.max_nbytes = 4096, .saver = *std::move(saver)}});
    const Status shared = save->WaitHandedOver();
    if (shared.code() != absl::StatusCode::kResourceExhausted) ::_exit(2);
    if (save->WaitStaged(std::chrono::milliseconds(50)).ok()) ::_exit(3);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(trainer, &status, 0) == trainer);
  REQUIRE(WIFSIGNALED(status));
  CheckHolds(StorageIn(path), state);
  RequireSaved(SaveBy(MakeSaver(), next, path)->Wait());
  CheckHolds(StorageIn(path), next);
  CHECK(FileCount(path) == files);
}

}  // namespace
}  // namespace dcp
