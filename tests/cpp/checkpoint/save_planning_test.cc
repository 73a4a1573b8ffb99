#include "checkpoint/save_planning.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "dcp/filesystem_storage.h"
#include "dcp/transport.h"

namespace dcp {
namespace {

std::unique_ptr<StorageWriter> Writer(FileSystemWriterOptions options = {}) {
  return MakeFileSystemWriter(std::move(options),
                              {.file_system = MakeMemoryFileSystem()});
}

TEST_CASE("a plan lists the entries in order, with what will be stored",
          "[checkpoint]") {
  std::vector<float> memory(12);
  std::vector<SaveEntry> entries = {
      ShardEntry("w", ContiguousView(memory.data(), DType::kFloat32, {3, 4}),
                 {6, 4}, {3, 0}),
      {.fqn = "x", .value = SerializedObject{"bytes"}}};
  std::get<TensorShard>(entries[0].value).requires_grad = true;
  const auto writer = Writer({.export_dtype = DType::kBFloat16});
  const auto plan = MakeLocalPlan(entries, *writer, {});
  REQUIRE(plan.ok());
  REQUIRE(plan->items.size() == 2);
  const WriteItem& w = plan->items[0];
  CHECK(w.type == WriteItemType::kShard);
  CHECK(w.chunk == Box{{3, 0}, {3, 4}});
  CHECK(w.global_size == Dims{6, 4});
  CHECK(w.properties.dtype == DType::kBFloat16);
  CHECK(w.properties.requires_grad);
  CHECK(w.nbytes == 24);
  CHECK(plan->items[1].type == WriteItemType::kByteIo);
  CHECK(plan->items[1].nbytes == 5);
  CHECK(plan->items[1].source == 1);
  CHECK(plan->planner_data->size() == 2);
}

TEST_CASE("a tensor that torch encoded is stored as it is", "[checkpoint]") {
  std::vector<SaveEntry> entries = {
      TensorEntry("q", ContiguousView(nullptr, DType::kQInt8, {2}))};
  std::get<TensorShard>(entries[0].value).encoded = "an item of torch.save";
  const auto plan =
      MakeLocalPlan(entries, *Writer({.export_dtype = DType::kFloat16}), {});
  REQUIRE(plan.ok());
  CHECK(plan->items[0].properties.dtype == DType::kQInt8);
  CHECK(plan->items[0].nbytes == 21);
  const auto transport = MakeSingleProcessTransport();
  EntrySource source(entries, *transport);
  CHECK(std::get<std::string_view>(*source.Resolve(plan->items[0])) ==
        "an item of torch.save");
}

TEST_CASE("a part of an entry is resolved relative to what the rank holds",
          "[checkpoint]") {
  std::vector<float> memory(12);
  const std::vector<SaveEntry> entries = {
      ShardEntry("w", ContiguousView(memory.data(), DType::kFloat32, {3, 4}),
                 {6, 4}, {3, 0})};
  const auto transport = MakeSingleProcessTransport();
  EntrySource source(entries, *transport);
  const auto payload = source.Resolve({.fqn = "w", .chunk = {{4, 0}, {2, 4}}});
  REQUIRE(payload.ok());
  const auto& view = std::get<TensorView>(*payload);
  CHECK(view.data == &memory[4]);
  CHECK(view.sizes == Dims{2, 4});
}

TEST_CASE("impossible shapes are refused", "[checkpoint]") {
  const auto writer = Writer();
  const int64_t huge = int64_t{1} << 40;
  for (const auto& [sizes, global, offsets] :
       std::vector<std::tuple<Dims, Dims, Dims>>{
           {{2}, {3}, {2}},
           {{2}, {3}, {-1}},
           {{-1}, {3}, {0}},
           {{2}, {3, 3}, {0}},
           {{2}, {3}, {0, 0}},
           {{huge, huge}, {huge, huge}, {0, 0}}}) {
    std::vector<SaveEntry> entries(1);
    entries[0] = {
        .fqn = "w",
        .value = TensorShard{
            .view = {.sizes = sizes, .strides = Dims::Filled(sizes.size(), 0)},
            .global_size = global,
            .offsets = offsets}};
    const auto plan = MakeLocalPlan(entries, *writer, {});
    CHECK(plan.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(Message(plan.status())), Catch::Contains("w"));
  }
}

TEST_CASE("a view whose elements fit 64 bits and whose bytes do not is refused",
          "[checkpoint]") {
  const int64_t many = int64_t{1} << 61;
  float one = 1;
  const std::vector<SaveEntry> entries = {
      TensorEntry("w", {.data = &one, .sizes = {many}, .strides = {0}})};
  CHECK(MakeLocalPlan(entries, *Writer(), {}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
