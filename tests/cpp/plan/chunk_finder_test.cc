#include <catch2/catch.hpp>
#include <numeric>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

/// A tensor of distinct values in pieces, one array for each.
struct Pieces {
  TensorStorageMetadata tensor;
  std::vector<std::vector<int64_t>> values;
};

int64_t Linear(const Dims& index, const Dims& sizes) {
  int64_t linear = 0;
  for (int d = 0; d < sizes.size(); ++d) linear = linear * sizes[d] + index[d];
  return linear;
}

/// Pieces of a tensor whose elements are their own positions.
Pieces Original(Random* random, const Dims& sizes) {
  Pieces pieces{.tensor = TensorOf(sizes, RandomPartition(random, sizes, 30))};
  for (const Box& chunk : pieces.tensor.chunks) {
    std::vector<int64_t>& values = pieces.values.emplace_back();
    for (int64_t i = 0; i < chunk.numel(); ++i) {
      Dims index = IndexOfElement(i, chunk.sizes);
      for (int d = 0; d < index.size(); ++d) index[d] += chunk.offsets[d];
      values.push_back(Linear(index, sizes));
    }
  }
  return pieces;
}

/// Does what a plan says, element by element.
void Copy(const ReadItem& item, const Pieces& from, Pieces* to) {
  const auto source = static_cast<size_t>(*item.storage_index.index);
  const auto target = static_cast<size_t>(item.destination);
  const Box& stored = from.tensor.chunks[source];
  const Box& wanted = to->tensor.chunks[target];
  CHECK(item.storage_index.offset == stored.offsets);
  CHECK(item.dest_index.offset == wanted.offsets);
  for (int64_t i = 0; i < Numel(item.lengths); ++i) {
    Dims in_source = IndexOfElement(i, item.lengths);
    Dims in_target = in_source;
    for (int d = 0; d < in_source.size(); ++d) {
      in_source[d] += item.storage_offsets[d];
      in_target[d] += item.dest_offsets[d];
    }
    to->values[target][static_cast<size_t>(Linear(in_target, wanted.sizes))] =
        from.values[source]
                   [static_cast<size_t>(Linear(in_source, stored.sizes))];
  }
}

/// The same tensor in other pieces, each element written once.
Pieces Reshard(const Pieces& from, std::vector<Box> chunks) {
  Pieces to{.tensor = TensorOf(from.tensor.size, std::move(chunks))};
  LoadPlan plan;
  const ChunkFinder finder(from.tensor);
  for (const Box& chunk : to.tensor.chunks) {
    const auto number = static_cast<int64_t>(to.values.size());
    to.values.emplace_back(static_cast<size_t>(chunk.numel()), -1);
    const Status planned =
        AppendReadItems("w", finder, from.tensor, chunk, number, &plan);
    INFO(Message(planned));
    REQUIRE(planned.ok());
  }
  int64_t copied = 0;
  for (const ReadItem& item : plan.items) {
    copied += Numel(item.lengths);
    CHECK(Numel(item.lengths) > 0);
    Copy(item, from, &to);
  }
  CHECK(copied == Numel(from.tensor.size));
  return to;
}

TEST_CASE("resharding from N to M and back changes nothing", "[load]") {
  Random random(1);
  for (int trial = 0; trial < 300; ++trial) {
    const Dims sizes = random.Sizes(4, 8);
    const Pieces original = Original(&random, sizes);
    const Pieces resharded =
        Reshard(original, RandomPartition(&random, sizes, 30));
    const Pieces back = Reshard(resharded, original.tensor.chunks);
    REQUIRE(back.values == original.values);
  }
}

TEST_CASE("the chunks found are those that a scan finds", "[load]") {
  Random random(2);
  for (int trial = 0; trial < 500; ++trial) {
    const Dims sizes = random.Sizes(4, 20);
    const TensorStorageMetadata tensor = TensorOf(
        sizes, RandomPartition(&random, sizes,
                               static_cast<int>(random.Between(1, 60))));
    const ChunkFinder finder(tensor);
    for (int query = 0; query < 10; ++query) {
      const Box box = random.PartOf(sizes);
      std::vector<size_t> expected;
      for (size_t i = 0; i < tensor.chunks.size(); ++i) {
        if (Intersect(tensor.chunks[i], box)) expected.push_back(i);
      }
      REQUIRE(finder.FindIntersecting(box) == expected);
    }
  }
}

TEST_CASE("chunks in order need no index beside their ends", "[load]") {
  const TensorStorageMetadata tensor =
      TensorOf({1000, 1000}, GridChunks({1000, 1000}, {1000, 10}));
  const ChunkFinder finder(tensor);
  const Box box{.offsets = {3, 995}, .sizes = {2, 5}};
  CHECK(finder.FindIntersecting(box) == std::vector<size_t>{99});
}

TEST_CASE("a read item's offsets are relative to both chunks", "[load]") {
  const TensorStorageMetadata tensor =
      TensorOf({8, 4}, {{.offsets = {0, 0}, .sizes = {3, 4}},
                        {.offsets = {3, 0}, .sizes = {5, 4}}});
  LoadPlan plan;
  REQUIRE(AppendReadItems("w", ChunkFinder(tensor), tensor,
                          {.offsets = {2, 1}, .sizes = {3, 2}}, 7, &plan)
              .ok());
  REQUIRE(plan.items.size() == 2);
  const ReadItem expected{
      .type = LoadItemType::kTensor,
      .dest_index = {.fqn = "w", .offset = Dims{2, 1}},
      .dest_offsets = {1, 0},
      .storage_index = {.fqn = "w", .offset = Dims{3, 0}, .index = 1},
      .storage_offsets = {0, 1},
      .lengths = {2, 2},
      .destination = 7};
  CHECK(plan.items[1] == expected);
  CHECK(plan.items[1].storage_index.index == 1);
}

TEST_CASE("a gap in the stored chunks is an error that names it", "[load]") {
  const TensorStorageMetadata tensor = TensorOf(
      {8}, {{.offsets = {0}, .sizes = {3}}, {.offsets = {5}, .sizes = {3}}});
  const ChunkFinder finder(tensor);
  LoadPlan plan;
  CHECK(AppendReadItems("w", finder, tensor, {.offsets = {5}, .sizes = {2}}, 0,
                        &plan)
            .ok());
  const Status status = AppendReadItems(
      "w", finder, tensor, {.offsets = {2}, .sizes = {2}}, 0, &plan);
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains("w hold 1 of the 2"));
  CHECK_THAT(std::string(Message(status)), Contains("offsets=[2]"));
  CHECK(GetErrorDetail(status)->fqn == "w");
}

TEST_CASE("scalars are read, empty boxes need nothing", "[load]") {
  const TensorStorageMetadata scalar = TensorOf({}, {Box{}});
  LoadPlan plan;
  CHECK(
      AppendReadItems("s", ChunkFinder(scalar), scalar, Box{}, 0, &plan).ok());
  REQUIRE(plan.items.size() == 1);
  CHECK(plan.items[0].lengths == Dims{});

  const TensorStorageMetadata missing = TensorOf({}, {});
  CHECK(AppendReadItems("s", ChunkFinder(missing), missing, Box{}, 0, &plan)
            .code() == absl::StatusCode::kDataLoss);

  const TensorStorageMetadata tensor = TensorOf({4, 2}, {});
  const Box empty{.offsets = {4, 0}, .sizes = {0, 2}};
  CHECK(
      AppendReadItems("w", ChunkFinder(tensor), tensor, empty, 0, &plan).ok());
  CHECK(plan.items.size() == 1);
}

}  // namespace
}  // namespace dcp
