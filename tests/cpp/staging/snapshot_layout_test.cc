#include "staging/snapshot_layout.h"

#include <catch2/catch.hpp>
#include <vector>

#include "base/tensor_cases.h"

namespace dcp {
namespace {

using Kind = StagedPlace::Kind;

constexpr int64_t kNoLimit = int64_t{1} << 40;

TensorView Strided(std::vector<float>& memory, Dims sizes, Dims strides) {
  TensorView view = ContiguousView(memory.data(), DType::kFloat32, {});
  view.sizes = std::move(sizes);
  view.strides = std::move(strides);
  return view;
}

TEST_CASE("tied tensors are copied once", "[staging]") {
  std::vector<float> memory(12);
  const std::vector<TensorView> views = {
      Strided(memory, {3, 4}, {4, 1}), Strided(memory, {3, 4}, {4, 1}),
      Strided(memory, {4, 3}, {1, 4}),  // transposed
      Strided(memory, {12}, {1}),       // flattened
      Strided(memory, {3, 2}, {4, 2}),  // every second column
      Strided(memory, {3, 2}, {4, 2}),  // the same
      Strided(memory, {2, 4}, {4, 1}),  // part of it
  };
  const SnapshotLayout layout = LayOutSnapshot(views, kNoLimit);
  CHECK(layout.lane(LaneKind::kHost).jobs.size() == 3);
  for (size_t i : {1, 2, 3}) {
    CHECK(layout.places[i].offset == layout.places[0].offset);
    CHECK(layout.places[i].strides == views[i].strides);
  }
  CHECK(layout.places[4].offset == layout.places[5].offset);
  CHECK(layout.places[4].strides == Dims{2, 1});
}

TEST_CASE("an expanded tensor takes what it shows", "[staging]") {
  std::vector<float> memory(12);
  const std::vector<TensorView> views = {
      Strided(memory, {1000000, 3}, {0, 1}),
      Strided(memory, {int64_t{1} << 40, int64_t{1} << 40}, {0, 0}),
      Strided(memory, {3, 1000000, 2}, {4, 0, 2}),
  };
  const SnapshotLayout layout = LayOutSnapshot(views, kNoLimit);
  CHECK(layout.nbytes() == 3 * 64);
  CHECK(layout.places[0].strides == Dims{0, 1});
  CHECK(layout.places[1].strides == Dims{0, 0});
  CHECK(layout.places[2].strides == Dims{2, 0, 1});
}

TEST_CASE("what has no bytes or cannot be read has no place", "[staging]") {
  std::vector<float> memory(12);
  TensorView null = Strided(memory, {2}, {1});
  null.data = nullptr;
  const std::vector<TensorView> views = {
      Strided(memory, {0, 4}, {4, 1}), Strided(memory, {2, 2}, {1}),
      Strided(memory, {-1}, {1}), null,
      Strided(memory, {int64_t{1} << 40, int64_t{1} << 40}, {1, 1})};
  const SnapshotLayout layout = LayOutSnapshot(views, kNoLimit);
  for (const StagedPlace& place : layout.places) {
    CHECK(place.kind == Kind::kUsedAsItIs);
  }
  CHECK(layout.nbytes() == 0);
}

TEST_CASE(
    "what does not fit the limit is streamed, later views that fit are not",
    "[staging]") {
  std::vector<float> memory(4096);
  std::vector<TensorView> views;
  for (int64_t size : {256, 2048, 256, 512}) {
    views.push_back(
        ContiguousView(memory.data() + views.size(), DType::kFloat32, {size}));
  }
  const SnapshotLayout layout = LayOutSnapshot(views, 4096);
  CHECK(layout.places[0].kind == Kind::kStaged);
  CHECK(layout.places[1].kind == Kind::kStreamed);
  CHECK(layout.places[2].kind == Kind::kStaged);
  CHECK(layout.places[3].kind == Kind::kStaged);
  CHECK(layout.nbytes_streamed == 2048 * 4);
  CHECK(layout.nbytes() <= 4096);
}

TEST_CASE("device and host memory lie apart", "[staging]") {
  std::vector<float> memory(64);
  TensorView on_device = ContiguousView(memory.data(), DType::kFloat32, {16});
  on_device.device = {.type = DeviceType::kCuda, .index = 1};
  const std::vector<TensorView> views = {
      on_device, ContiguousView(memory.data(), DType::kFloat32, {16})};
  const SnapshotLayout layout = LayOutSnapshot(views, kNoLimit);
  CHECK(layout.places[0].lane == LaneKind::kDevice);
  CHECK(layout.places[1].lane == LaneKind::kHost);
  CHECK(layout.LaneBegin(LaneKind::kDevice) == 64);
  CHECK(layout.nbytes() == 128);
}

TEST_CASE("copies lie apart, in order and aligned, within the limit",
          "[staging]") {
  Random random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<OwnedTensor> tensors;
    std::vector<TensorView> views;
    for (int64_t i = random.Between(0, 12); i >= 0; --i) {
      tensors.push_back(random.Strided(
          random.Pick({DType::kInt8, DType::kFloat32, DType::kComplex128}),
          random.Sizes(4, 9), Random::Overlap::kAllowed));
      views.push_back(tensors.back().view);
    }
    const int64_t limit = random.Pick({int64_t{0}, int64_t{3000}, kNoLimit});
    const SnapshotLayout layout = LayOutSnapshot(views, limit);
    CHECK(layout.nbytes() <= limit);
    int64_t end = 0;
    for (const CopyJob& job : layout.lane(LaneKind::kHost).jobs) {
      CHECK(job.offset % 64 == 0);
      CHECK(job.offset >= end);
      end = job.offset + job.nbytes;
    }
    CHECK(end <= layout.nbytes());
    REQUIRE(layout.places.size() == views.size());
  }
}

}  // namespace
}  // namespace dcp
