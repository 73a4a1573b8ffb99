#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/old_or_new.h"
#include "dcp/checkpoint_layout.h"
#include "dcp/reshard.h"
#include "storage/damage.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::RandomTensor;
using conformance::State;
using conformance::VariedState;
using testing::FaultInjectionFileSystem;
using testing::RebootPolicy;

StatusOr<ConvertResult> Reshard(std::shared_ptr<FileSystem> fs,
                                ReshardRequest request) {
  if (request.source.empty()) request.source = "/ckpt";
  request.destination = "/new";
  request.io = ModestIo(IoEngineKind::kThreads);
  return ReshardCheckpoint(request, {.file_system = std::move(fs)});
}

NativePlace NewPlace(std::shared_ptr<FileSystem> fs) {
  NativePlace place{.fs = std::move(fs), .directory = "/new"};
  place.writer.io = place.reader.io = ModestIo(IoEngineKind::kThreads);
  return place;
}

/// A state with one tensor that is read in several pieces.
State LargeState() {
  State state = conformance::SmallState(3);
  state.tensors["large"] = RandomTensor(5, DType::kFloat32, {17, 1100, 1001});
  return state;
}

TEST_CASE("a checkpoint of any ranks becomes one of others",
          "[checkpoint][reshard]") {
  const int ranks = GENERATE(1, 3, 40);
  const State state = VariedState(1);
  const auto fs = Saved(state, {});
  const auto done = Reshard(fs, {.ranks = ranks});
  DCP_CHECK_OK(done.status());
  CHECK(done->tensors == static_cast<int64_t>(state.tensors.size()));
  CHECK(done->objects == static_cast<int64_t>(state.objects.size()));
  CheckHolds(NativeStorage(NewPlace(fs)), state);
  const Metadata before = ReadMetadata(*fs);
  const auto after = ParseMetadata(GetFile(*fs, "/new/.metadata"));
  DCP_CHECK_OK(after.status());
  CHECK(after->planner_data == before.planner_data);
}

TEST_CASE("each rank has the rows that torch.chunk gives it, in one file",
          "[checkpoint][reshard]") {
  State state;
  state.tensors["rows"] = RandomTensor(1, DType::kFloat32, {10, 4});
  state.tensors["few"] = RandomTensor(2, DType::kInt64, {2});
  state.tensors["none"] = RandomTensor(3, DType::kFloat32, {0, 7});
  state.tensors["s1"] = RandomTensor(4, DType::kFloat32, {});
  state.tensors["s2"] = RandomTensor(5, DType::kFloat32, {});
  const auto fs = Saved(state, {});
  DCP_CHECK_OK(Reshard(fs, {.ranks = 4}).status());
  const auto layout = DescribeLayout("/new", {}, {.file_system = fs});
  DCP_CHECK_OK(layout.status());
  REQUIRE(layout->files.size() == 4);
  std::map<std::string, std::vector<std::string>> parts;
  for (const StoredPart& part : layout->parts) {
    parts[part.fqn].push_back(layout->files[part.file].name + " " +
                              ToString(part.chunk->offsets) +
                              ToString(part.chunk->sizes));
  }
  CHECK(parts["rows"] == std::vector<std::string>{"__0_0.distcp [0, 0][3, 4]",
                                                  "__1_0.distcp [3, 0][3, 4]",
                                                  "__2_0.distcp [6, 0][3, 4]",
                                                  "__3_0.distcp [9, 0][1, 4]"});
  CHECK(parts["few"] ==
        std::vector<std::string>{"__0_0.distcp [0][1]", "__1_0.distcp [1][1]"});
  CHECK(parts["none"] == std::vector<std::string>{"__0_0.distcp [0, 0][0, 7]"});
  CHECK(parts["s1"] == std::vector<std::string>{"__0_0.distcp [][]"});
  CHECK(parts["s2"] == std::vector<std::string>{"__1_0.distcp [][]"});
}

TEST_CASE("large tensors are read bit by bit, of every kind of source",
          "[checkpoint][reshard]") {
  const State state = LargeState();
  for (const std::string kind : {"ours", "stock", "compressed"}) {
    CAPTURE(kind);
    const auto fs = kind == "stock" ? SavedAsStock(state)
                    : kind == "ours"
                        ? Saved(state, {})
                        : Saved(state, {.compression = Compression::kZstd});
    int64_t last = 0;
    int64_t total = 0;
    const auto done = Reshard(
        fs, {.ranks = 3, .progress = [&](const ConvertProgress& now) -> Status {
               CHECK(now.nbytes_done >= last);
               last = now.nbytes_done;
               total = now.nbytes_total;
               return absl::OkStatus();
             }});
    DCP_CHECK_OK(done.status());
    CHECK(total == done->nbytes);
    CHECK(last > 0);
    CHECK(last <= total);
    CheckHolds(NativeStorage(NewPlace(fs)), state);
  }
}

TEST_CASE("safetensors become a checkpoint of ranks", "[checkpoint][reshard]") {
  State state;
  state.tensors["w"] = RandomTensor(1, DType::kFloat32, {9, 3});
  const auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories("/m"));
  PutFile(*fs, "/m/model.safetensors", WholeFile(state));
  DCP_CHECK_OK(Reshard(fs, {.source = "/m", .ranks = 2}).status());
  CheckHolds(NativeStorage(NewPlace(fs)), state);
}

TEST_CASE("what is damaged is not resharded, and nothing is left",
          "[checkpoint][reshard]") {
  const State state = LargeState();
  const auto fs = Saved(state, {});
  const std::string file = FilesOf(*fs, "__1_").at(0);
  FlipBit(*fs, file, GetFile(*fs, file).size() / 2, 3);
  const Status failed = Reshard(fs, {.ranks = 3}).status();
  CHECK(failed.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(failed)), Contains("large"));
  CHECK(fs->List("/new").value().empty());
}

TEST_CASE("a wrong number of ranks, or the same directory, is refused",
          "[checkpoint][reshard]") {
  const auto fs = Saved(conformance::SmallState(1), {});
  for (const int ranks : {0, -1, 65537}) {
    CHECK(Reshard(fs, {.ranks = ranks}).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
  CHECK(Reshard(fs, {.source = "/new"}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(Reshard(fs, {.source = "/nothing"}).status().code() ==
        absl::StatusCode::kNotFound);
}

TEST_CASE("a power cut in a reshard leaves the old checkpoint or the new one",
          "[checkpoint][reshard][crash]") {
  const OldAndNew states = SmallStates();
  const auto disk = [&] {
    auto fs = Saved(states.new_state, {});
    DCP_CHECK_OK(
        conformance::SaveOnce(NativeStorage(NewPlace(fs)), states.old_state,
                              conformance::ShardedState(states.old_state, 2)));
    return fs;
  };
  bool done = false;
  int64_t cut = 0;
  for (; !done; ++cut) {
    FaultInjectionFileSystem fs(disk(), {.power_cut_after = cut});
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const bool ok = Reshard(borrowed, {.ranks = 2}).ok();
    done = !fs.power_is_cut();
    for (RebootPolicy policy :
         {RebootPolicy::kDropUnsynced, RebootPolicy::kKeepAll}) {
      INFO("power cut after call " << cut << ", policy " << int(policy));
      const Found found = WhatIsIn(NewPlace(fs.AfterReboot(policy)), states);
      CHECK((found == Found::kNew || (found == Found::kOld && !ok)));
    }
  }
  CHECK(cut > 20);
}

}  // namespace
}  // namespace dcp
