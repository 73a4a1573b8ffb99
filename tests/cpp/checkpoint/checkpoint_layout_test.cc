#include "dcp/checkpoint_layout.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/verify_testing.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::RandomTensor;
using conformance::State;

CheckpointLayout LayoutOf(std::shared_ptr<FileSystem> fs,
                          const std::string& path) {
  auto layout = DescribeLayout(path, {.io = ModestIo(IoEngineKind::kThreads)},
                               {.file_system = std::move(fs)});
  CAPTURE(path, Message(layout.status()));
  REQUIRE(layout.ok());
  return *std::move(layout);
}

std::vector<StoredPart> PartsOf(const CheckpointLayout& layout,
                                const std::string& fqn) {
  std::vector<StoredPart> parts;
  for (const StoredPart& part : layout.parts) {
    if (part.fqn == fqn) parts.push_back(part);
  }
  return parts;
}

TEST_CASE("a layout tells which part of what lies where",
          "[checkpoint][layout]") {
  const auto fs = Saved(MixedState(), {});
  const CheckpointLayout layout = LayoutOf(fs, "/ckpt");
  CHECK(layout.format == CheckpointFormat::kDcp);
  REQUIRE(layout.files.size() == 2);
  CHECK(layout.files[0].name == "__0_0.distcp");
  CHECK(layout.files[1].rank == 1);
  // The object and the scalar are rank 0's, of the other tensors both have a
  // part.
  CHECK(layout.files[0].keys == 5);
  CHECK(layout.files[0].items == 5);
  CHECK(layout.files[1].keys == 3);
  CHECK(layout.parts.size() == 8);
  const auto large = PartsOf(layout, "large");
  REQUIRE(large.size() == 2);
  CHECK(large[0].chunk == Box{{0, 0}, {600, 801}});
  CHECK(large[0].file == 0);
  CHECK(large[1].chunk == Box{{600, 0}, {600, 801}});
  CHECK(large[1].file == 1);
  const StorageInfo stored = ReadMetadata(*fs).storage_data.at(
      {.fqn = "large", .offset = Dims{600, 0}});
  CHECK(large[1].byte_offset == stored.offset);
  CHECK(large[1].nbytes == stored.length);
  const auto step = PartsOf(layout, "step");
  REQUIRE(step.size() == 1);
  CHECK_FALSE(step[0].chunk.has_value());
}

TEST_CASE("a layout tells how even ranks and files are",
          "[checkpoint][layout]") {
  State state;
  state.tensors["even"] = RandomTensor(1, DType::kFloat32, {1000, 100});
  const CheckpointLayout even = LayoutOf(Saved(state, {}), "/ckpt");
  CHECK(even.rank_imbalance == Approx(1).epsilon(0.01));
  CHECK(even.file_imbalance == even.rank_imbalance);
  REQUIRE(even.ranks.size() == 2);
  CHECK(even.ranks[1].rank == 1);
  CHECK(even.ranks[1].files == 1);
  CHECK(even.ranks[1].nbytes == even.files[1].nbytes);
  state.tensors["uneven"] = RandomTensor(1, DType::kFloat32, {1, 100'000});
  const CheckpointLayout uneven = LayoutOf(Saved(state, {}), "/ckpt");
  CHECK(uneven.rank_imbalance == Approx(1.5).epsilon(0.01));
}

TEST_CASE("safetensors have no ranks, and shared bytes count once",
          "[checkpoint][layout]") {
  Place place(MakeMemoryFileSystem(), "/m");
  const std::string file =
      SerializeSafetensorsHeader(
          {{.name = "a", .dtype = SafetensorsDType::kF32, .shape = Dims{10}}},
          {{"b", "a"}})
          .value()
          .bytes +
      std::string(40, 'x');
  DCP_CHECK_OK(place.fs->MakeDirectories("/m"));
  PutFile(*place.fs, "/m/model.safetensors", file);
  const CheckpointLayout layout = LayoutOf(place.fs, "/m");
  CHECK(layout.format == CheckpointFormat::kSafetensors);
  CHECK(layout.ranks.empty());
  CHECK(layout.rank_imbalance == 1);
  REQUIRE(layout.files.size() == 1);
  CHECK_FALSE(layout.files[0].rank.has_value());
  CHECK(layout.files[0].keys == 2);
  CHECK(layout.files[0].items == 1);
  CHECK(layout.files[0].nbytes == 40);
}

TEST_CASE("a part without a place is damage", "[checkpoint][layout]") {
  const auto fs = SavedAsStock(conformance::SmallState(1));
  Metadata metadata = ReadMetadata(*fs);
  const std::string lost = metadata.storage_data.begin()->first.fqn;
  metadata.storage_data.erase(metadata.storage_data.begin());
  PutStockMetadata(*fs, metadata);
  const Status status =
      DescribeLayout("/ckpt", {}, {.file_system = fs}).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Catch::Contains(lost));
}

}  // namespace
}  // namespace dcp
