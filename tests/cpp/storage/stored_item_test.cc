#include "storage/stored_item.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "format/torch_item_reader.h"

namespace dcp {
namespace {

Metadata TwoChunks() {
  Metadata metadata;
  metadata.Add("w", TensorStorageMetadata{
                        .properties = {.dtype = DType::kInt16},
                        .size = {4, 2},
                        .chunks = {{.offsets = {0, 0}, .sizes = {3, 2}},
                                   {.offsets = {3, 0}, .sizes = {1, 2}}}});
  metadata.Add("x", BytesStorageMetadata{});
  metadata.storage_data[{.fqn = "w", .offset = Dims{0, 0}}] = {
      .relative_path = "b", .offset = 64, .length = 100};
  metadata.storage_data[{.fqn = "w", .offset = Dims{3, 0}}] = {
      .relative_path = "a", .offset = 500, .length = 100};
  metadata.storage_data[{.fqn = "x"}] = {
      .relative_path = "b", .offset = 0, .length = 64};
  return metadata;
}

ReadItem TensorRead(Dims offset, int64_t chunk) {
  return {.storage_index = {
              .fqn = "w", .offset = std::move(offset), .index = chunk}};
}

StatusOr<std::vector<StoredItem>> ItemsOf(const LoadPlan& plan,
                                          const Metadata& metadata) {
  DCP_ASSIGN_OR_RETURN(const auto reads, LocateReads(plan, metadata, "/ckpt"));
  return DescribeItems(reads, metadata, "/ckpt");
}

TEST_CASE("reads are grouped by item, in the order of files and offsets",
          "[storage]") {
  const LoadPlan plan{
      .items = {TensorRead({0, 0}, 0),
                TensorRead({3, 0}, 1),
                {.type = LoadItemType::kByteIo, .storage_index = {.fqn = "x"}},
                TensorRead({0, 0}, 0)}};
  const auto items = ItemsOf(plan, TwoChunks());
  REQUIRE(items.ok());
  REQUIRE(items->size() == 3);
  CHECK((*items)[0].info.relative_path == "a");
  CHECK((*items)[0].path() == "/ckpt/a");
  CHECK((*items)[0].sizes == Dims{1, 2});
  CHECK((*items)[0].dtype == DType::kInt16);
  CHECK((*items)[1].index.fqn == "x");
  CHECK((*items)[1].type == LoadItemType::kByteIo);
  CHECK((*items)[2].reads ==
        std::vector<const ReadItem*>{&plan.items[0], &plan.items[3]});
}

TEST_CASE("the reads of one item are not parted", "[storage]") {
  const LoadPlan plan{
      .items = {TensorRead({0, 0}, 0),
                TensorRead({3, 0}, 1),
                {.type = LoadItemType::kByteIo, .storage_index = {.fqn = "x"}},
                TensorRead({0, 0}, 0)}};
  const Metadata metadata = TwoChunks();
  const auto reads = LocateReads(plan, metadata, "/ckpt").value();
  REQUIRE(reads.size() == 4);
  CHECK(ReadsOfFirstItems(reads, 1).size() == 1);
  CHECK(ReadsOfFirstItems(reads, 2).size() == 2);
  CHECK(ReadsOfFirstItems(reads, 3).size() == 4);
  CHECK(ReadsOfFirstItems(reads, 4).size() == 4);
  CHECK(ReadsOfFirstItems({}, 1).empty());
}

TEST_CASE("what the metadata does not place is damage", "[storage]") {
  for (const ReadItem& read : {TensorRead({1, 0}, 0), TensorRead({3, 0}, 2)}) {
    const LoadPlan plan{.items = {read}};
    const auto items = ItemsOf(plan, TwoChunks());
    CHECK(items.status().code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(items.status())), Catch::Contains("w"));
  }
}

TEST_CASE("items that overlap in part are damage, shared ones are not",
          "[storage]") {
  const LoadPlan plan{.items = {TensorRead({0, 0}, 0),
                                {.type = LoadItemType::kByteIo,
                                 .storage_index = {.fqn = "x"}}}};
  for (const auto& [offset, length, fits] :
       std::vector<std::tuple<int64_t, int64_t, bool>>{{0, 64, true},
                                                       {0, 65, false},
                                                       {64, 100, true},
                                                       {64, 99, false},
                                                       {163, 1, false},
                                                       {164, 1, true},
                                                       {100, 0, true},
                                                       {0, 1000, false}}) {
    INFO("x at " << offset << ", " << length << " bytes");
    Metadata metadata = TwoChunks();
    StorageInfo& info = metadata.storage_data[{.fqn = "x"}];
    info.offset = offset;
    info.length = length;
    const auto items = ItemsOf(plan, metadata);
    CHECK(items.ok() == fits);
    if (!fits) CHECK(items.status().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("a parsed item's place follows its strides and storage offset",
          "[storage]") {
  const StoredItem item{.info = {.offset = 1000}, .sizes = {2, 3}};
  TensorItemInfo parsed{.dtype = DType::kFloat32,
                        .sizes = {2, 3},
                        .strides = {1, 2},
                        .storage_offset = 4,
                        .data_offset = 64,
                        .data_nbytes = 40,
                        .data_crc32 = 7};
  const auto place = PlaceOfParsedItem(item, parsed);
  REQUIRE(place.ok());
  CHECK(place->data_begin == 1000 + 64 + 16);
  CHECK(place->data_nbytes == 24);
  CHECK(place->image.sizes == Dims{3, 2});
  CHECK(place->order == std::vector<int>{1, 0});
  CHECK(place->crc32 == 0);  // it is of the whole storage

  parsed.strides = {4, 1};
  CHECK(PlaceOfParsedItem(item, parsed).status().code() ==
        absl::StatusCode::kUnimplemented);
  parsed.sizes = {3, 2};
  CHECK(PlaceOfParsedItem(item, parsed).status().code() ==
        absl::StatusCode::kDataLoss);
}

TEST_CASE("a tensor of no elements has a place in its item, wherever it points",
          "[storage]") {
  const StoredItem item{.info = {.offset = 1000}, .sizes = {0}};
  const auto place =
      PlaceOfParsedItem(item, {.dtype = DType::kFloat32,
                               .sizes = {0},
                               .strides = {1},
                               .storage_offset = (int64_t{1} << 62) + 1,
                               .data_offset = 64});
  REQUIRE(place.ok());
  CHECK(place->data_begin == 1064);
  CHECK(place->data_nbytes == 0);
}

TEST_CASE("conjugate and negative bits must fit the dtype", "[storage]") {
  const StoredItem item{.sizes = {1}};
  TensorItemInfo parsed{.dtype = DType::kComplex64,
                        .sizes = {1},
                        .strides = {1},
                        .data_nbytes = 8,
                        .conj = true};
  CHECK(PlaceOfParsedItem(item, parsed)->op == ElementOp::kConj);
  parsed.dtype = DType::kInt64;
  CHECK(PlaceOfParsedItem(item, parsed).status().code() ==
        absl::StatusCode::kDataLoss);
  parsed.conj = false;
  parsed.neg = true;
  parsed.dtype = DType::kFloat64;
  CHECK(PlaceOfParsedItem(item, parsed)->op == ElementOp::kNeg);
}

}  // namespace
}  // namespace dcp
