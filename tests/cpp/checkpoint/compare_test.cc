#include "dcp/compare.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::ObjectOf;
using conformance::RandomTensor;
using conformance::State;

State TrainedState() {
  State state;
  state.objects["step"] = ObjectOf(7);
  state.tensors["large"] = RandomTensor(1, DType::kFloat32, {1200, 801});
  state.tensors["small"] = RandomTensor(2, DType::kInt16, {3, 5});
  state.tensors["scalar"] = RandomTensor(3, DType::kComplex64, {});
  state.tensors["none"] = RandomTensor(4, DType::kFloat32, {0, 2});
  return state;
}

void PutValue(State& state, const std::string& fqn, size_t element,
              float value) {
  std::memcpy(state.tensors.at(fqn).bytes.data() + element * sizeof(value),
              &value, sizeof(value));
}

/// Saves `state` at `directory` from `world_size` ranks.
void SaveAt(const std::shared_ptr<FileSystem>& fs, const std::string& directory,
            const State& state, int world_size,
            Compression compression = Compression::kNone) {
  NativePlace place{.fs = fs, .directory = directory};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  place.writer.compression = compression;
  RequireAllSucceed(
      SaveOnRanks(Sharded(state, world_size), NativeStorage(place)));
}

StatusOr<CheckpointDifference> Compared(
    std::shared_ptr<FileSystem> fs,
    CompareDepth depth = CompareDepth::kValues) {
  return Compare("/a", "/b",
                 {.depth = depth, .io = ModestIo(IoEngineKind::kThreads)},
                 {.file_system = std::move(fs)});
}

CheckpointDifference DifferenceOf(const State& a, const State& b) {
  const auto fs = MakeMemoryFileSystem();
  SaveAt(fs, "/a", a, 2);
  SaveAt(fs, "/b", b, 3);
  auto difference = Compared(fs);
  CAPTURE(Message(difference.status()));
  REQUIRE(difference.ok());
  return *std::move(difference);
}

TEST_CASE("equal states do not differ, whatever their sharding",
          "[checkpoint][compare]") {
  const auto difference = DifferenceOf(TrainedState(), TrainedState());
  CHECK(difference.empty());
  CHECK(difference.keys_in_common == 5);
  CHECK(difference.nbytes_compared == 1200 * 801 * 4 + 30 + 8);
}

TEST_CASE("keys of one side, and forms that differ, are told",
          "[checkpoint][compare]") {
  State a = TrainedState();
  State b = a;
  a.tensors["old"] = RandomTensor(5, DType::kFloat32, {2});
  b.objects["new"] = ObjectOf(1);
  b.tensors["small"] = RandomTensor(2, DType::kInt32, {3, 5});
  b.tensors["scalar"] = RandomTensor(3, DType::kComplex64, {1});
  b.objects.erase("step");
  b.tensors["step"] = RandomTensor(6, DType::kInt64, {});
  const auto difference = DifferenceOf(a, b);
  CHECK(difference.only_in_a == std::vector<std::string>{"old"});
  CHECK(difference.only_in_b == std::vector<std::string>{"new"});
  CHECK(difference.keys_in_common == 5);
  REQUIRE(difference.forms.size() == 3);
  CHECK(difference.forms[0].fqn == "step");
  CHECK(std::holds_alternative<ObjectForm>(difference.forms[0].a));
  CHECK(difference.forms[1].fqn == "scalar");
  CHECK(std::get<TensorForm>(difference.forms[1].b).shape == Dims{1});
  CHECK(difference.forms[2].fqn == "small");
  CHECK(std::get<TensorForm>(difference.forms[2].a).dtype == DType::kInt16);
  CHECK(difference.values.empty());
}

TEST_CASE("elements that differ are counted and measured",
          "[checkpoint][compare]") {
  State a = TrainedState();
  State b = a;
  PutValue(a, "large", 3, 1.5F);
  PutValue(b, "large", 3, 1.0F);
  PutValue(a, "large", 900'000, -4.0F);
  PutValue(b, "large", 900'000, 4.0F);
  PutValue(a, "large", 900'001, 0.0F);
  PutValue(b, "large", 900'001, -0.0F);
  b.tensors["scalar"] = RandomTensor(30, DType::kComplex64, {});
  b.objects["step"] = ObjectOf(8);
  auto difference = DifferenceOf(a, b);
  REQUIRE(difference.values.size() == 3);
  CHECK(difference.values[0].fqn == "step");
  CHECK(difference.values[0].elements == 0);
  CHECK(difference.values[1].fqn == "large");
  CHECK(difference.values[1].elements == 3);
  CHECK(difference.values[1].max_distance == 8.0);
  CHECK(difference.values[2].fqn == "scalar");
  CHECK(difference.values[2].elements == 1);
  CHECK_FALSE(difference.values[2].max_distance.has_value());
  PutValue(a, "large", 1, std::numeric_limits<float>::quiet_NaN());
  difference = DifferenceOf(a, b);
  CHECK(std::isnan(difference.values.at(1).max_distance.value()));
}

TEST_CASE("formats are compared with each other", "[checkpoint][compare]") {
  State state = TrainedState();
  Place place(MakeMemoryFileSystem(), "/b");
  SaveAt(place.fs, "/a", state, 2, Compression::kZstd);
  state.objects.clear();
  RequireAllSucceed(place.Save(Sharded(state, 3)));
  const auto difference = Compared(place.fs);
  REQUIRE(difference.ok());
  CHECK(difference->only_in_a == std::vector<std::string>{"step"});
  CHECK(difference->only_in_b.empty());
  CHECK(difference->forms.empty());
  CHECK(difference->values.empty());
  CHECK(difference->nbytes_compared > 1200 * 801 * 4);
}

TEST_CASE("without values no data is read", "[checkpoint][compare]") {
  const auto fs = MakeMemoryFileSystem();
  SaveAt(fs, "/a", TrainedState(), 1);
  SaveAt(fs, "/b", TrainedState(), 1);
  DCP_CHECK_OK(fs->Remove("/b/__0_0.distcp"));
  const auto difference = Compared(fs, CompareDepth::kForms);
  REQUIRE(difference.ok());
  CHECK(difference->empty());
  CHECK(difference->nbytes_compared == 0);
  CHECK_FALSE(Compared(fs).ok());
}

TEST_CASE("damage is no difference but an error", "[checkpoint][compare]") {
  const auto fs = MakeMemoryFileSystem();
  SaveAt(fs, "/a", TrainedState(), 1);
  SaveAt(fs, "/b", TrainedState(), 1);
  FlipBit(*fs, "/b/__0_0.distcp", 2'000'000, 1);
  CHECK(Compared(fs).status().code() == absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dcp
