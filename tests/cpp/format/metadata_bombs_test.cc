// Small `.metadata` files that ask for much memory or time: each is refused.

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "dcp/metadata_codec.h"
#include "format/metadata_scanner.h"
#include "format/pickle_reader.h"
#include "format/raw_metadata.h"
#include "fuzz/allocation_meter.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

constexpr size_t kMib = size_t{1} << 20;
// 4,000 copies of it are more than 1 GiB.
const std::string kLong(300'000, 'x');
constexpr int kCopies = 4000;

/// `value` in batches of 1,000.
void Elements(RawMetadata* out, int count, std::string_view value) {
  for (int i = 0; i < count; ++i) {
    if (i % 1000 == 0) out->Raw(i == 0 ? "(" : "e(");
    out->Raw(value);
  }
  out->Raw("e");
}

/// No entry, and neither paths nor items.
void Nothing(RawMetadata* out) {
  out->BeginRoot().Object("step").Raw("u");
  out->Name("planner_data").Raw("N").Name("storage_data").Raw("N");
}

/// Its modules are up to the caller.
Recall BeginModules(RawMetadata* out, std::string_view checkpoint_id) {
  Nothing(out);
  out->Name("storage_meta").Begin("StorageMeta");
  out->Name("checkpoint_id");
  Recall id = out->Text(checkpoint_id);
  out->Name("save_id").Raw("N").Name("load_id").Raw("N");
  out->Name("modules").EmptyList();
  return id;
}

void ManyModules(RawMetadata* out) {
  const Recall text = BeginModules(out, kLong);
  Elements(out, kCopies, text);
  out->End();
}

void ManyPathItems(RawMetadata* out) {
  out->BeginRoot().Object("step").Raw("u");
  out->Name("planner_data").EmptyDict().Raw("(").Name("step").Raw("(");
  const Recall text = out->Text(kLong);
  for (int i = 0; i < kCopies; ++i) out->Raw(text);
  out->Raw("t");
  out->Memoize();
  out->Raw("u").Name("storage_data").Raw("N");
}

void ManyPathParts(RawMetadata* out) {
  Nothing(out);
  out->Name("storage_meta").Begin("StorageMeta");
  out->Name("checkpoint_id").Class("pathlib", "PosixPath").Raw("(");
  const Recall text = out->Text(kLong);
  for (int i = 0; i < kCopies; ++i) out->Raw(text);
  out->Raw("t");
  out->Memoize();
  out->Raw("R");
  out->Memoize();
  out->Name("save_id").Raw("N").Name("load_id").Raw("N").End();
}

/// The item "step", up to its transforms.
void ManyTransforms(RawMetadata* out) {
  out->BeginRoot().Object("step").Raw("u");
  out->Name("planner_data").Raw("N");
  out->Name("storage_data").EmptyDict().Raw("(").Begin("MetadataIndex");
  out->Name("fqn").Name("step").Name("index").Raw("N").End();
  out->Begin("_StorageInfo", "torch.distributed.checkpoint.filesystem");
  out->Name("relative_path");
  const Recall text = out->Text(kLong);
  out->Name("offset").Raw({"K\0", 2}).Name("length").Raw({"K\0", 2});
  out->Name("transform_descriptors").EmptyList();
  Elements(out, kCopies, text);
  out->End().Raw("u");
}

/// A tensor of 100 x 100 chunks of one element, all its items by name.
void Items(RawMetadata* out, int count, const std::string& fqn,
           const std::string& path) {
  out->BeginRoot();
  const Recall name = out->Text(fqn);
  out->BeginTensor(2, 100);
  const auto offset = [](int i) {
    return std::string{'K', static_cast<char>(i / 100), 'K',
                       static_cast<char>(i % 100)};
  };
  std::vector<Recall> offsets;
  for (int i = 0; i < count; ++i) {
    out->Begin("ChunkStorageMetadata");
    out->Name("offsets").Class("torch", "Size").Raw(offset(i)).Raw("\x86");
    out->Memoize();
    out->Raw("\x85");
    out->Memoize();
    out->Raw("R");
    offsets.push_back(out->Memoize());
    out->Name("sizes").Size(2, 1);
    out->End();
  }
  out->EndTensor().Raw("u").Name("planner_data").Raw("N");
  out->Name("storage_data").EmptyDict().Raw("(");
  std::optional<Recall> place;
  for (int i = 0; i < count; ++i) {
    out->Begin("MetadataIndex");
    out->Name("fqn").Raw(name).Name("index").Raw("N");
    out->Name("offset").Raw(offsets[static_cast<size_t>(i)]).End();
    out->Begin("_StorageInfo", "torch.distributed.checkpoint.filesystem");
    out->Name("relative_path");
    if (place) {
      out->Raw(*place);
    } else {
      place = out->Text(path);
    }
    out->Name("offset").Raw({"K\0", 2}).Name("length").Raw({"K\0", 2}).End();
  }
  out->Raw("u");
}

void LongNames(RawMetadata* out) { Items(out, kCopies, kLong, "f"); }
void LongPaths(RawMetadata* out) { Items(out, kCopies, "w", kLong); }

/// Chunks of 64 dimensions, 1 KiB each, in 19 bytes.
void DeepChunks(RawMetadata* out) {
  out->BeginRoot();
  out->Text("w");
  out->BeginTensor(64, 1);
  out->Begin("ChunkStorageMetadata");
  out->Name("offsets");
  const Recall offsets = out->Size(64, 0);
  out->Name("sizes");
  const Recall sizes = out->Size(64, 1);
  out->End();
  for (int i = 0; i < 150'000; ++i) {
    if (i % 1000 == 0) out->Raw("e(");
    out->Begin("ChunkStorageMetadata");
    out->Name("offsets").Raw(offsets).Name("sizes").Raw(sizes).End();
  }
  out->EndTensor().Raw("u");
  out->Name("planner_data").Raw("N").Name("storage_data").Raw("N");
}

/// One tensor of 5,000 chunks under 2,000 names.
void OneTensorForMany(RawMetadata* out) {
  out->BeginRoot();
  out->Text("w");
  const Recall tensor = out->BeginTensor(1, 1);
  for (int i = 0; i < 5000; ++i) {
    out->Begin("ChunkStorageMetadata");
    out->Name("offsets").Size(1, 0);
    out->Name("sizes").Size(1, 1);
    out->End();
  }
  out->EndTensor();
  for (int i = 0; i < 2000; ++i) {
    out->Text(std::to_string(i));
    out->Raw(tensor);
  }
  out->Raw("u").Name("planner_data").Raw("N").Name("storage_data").Raw("N");
}

TEST_CASE("what a file names again and again is not copied without end",
          "[metadata][bombs]") {
  const auto write =
      GENERATE(ManyModules, ManyPathItems, ManyPathParts, ManyTransforms,
               LongNames, LongPaths, DeepChunks, OneTensorForMany);
  const bool is_parsed = GENERATE(false, true);
  RawMetadata out;
  write(&out);
  const std::string pickle = std::move(out).Finish(is_parsed);
  ResetAllocationPeak();
  const StatusOr<Metadata> metadata = ParseMetadata(pickle);
  CHECK(AllocationPeakNbytes() <= 64 * kMib + 8 * pickle.size());
  REQUIRE_FALSE(metadata.ok());
  CHECK(metadata.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(metadata.status())),
             Contains("copies need too much memory"));
}

TEST_CASE("long names of many chunks are read", "[metadata][bombs]") {
  const bool is_parsed = GENERATE(false, true);
  RawMetadata out;
  Items(&out, 9000, std::string(3000, 'w'), std::string(200, 'f'));
  const std::string pickle = std::move(out).Finish(is_parsed);
  CHECK(MetadataScanner(pickle).Scan().has_value() != is_parsed);
  const StatusOr<Metadata> metadata = ParseMetadata(pickle);
  INFO(metadata.status());
  REQUIRE(metadata.ok());
  CHECK(metadata->storage_data.size() == 9000);
}

TEST_CASE("keys that std::hash does not tell apart are refused",
          "[metadata][bombs]") {
  constexpr size_t kCount = 200;
  std::unordered_map<std::string, ObjectPath> table;
  table.reserve(kCount);
  std::vector<std::string> keys;
  for (int64_t i = 0; keys.size() < kCount; ++i) {
    const std::string key = "layers." + std::to_string(i);
    if (table.bucket(key) == 0) keys.push_back(key);
  }
  const bool is_parsed = GENERATE(false, true);
  RawMetadata out;
  out.BeginRoot();
  for (const std::string& key : keys) out.Object(key);
  out.Raw("u").Name("planner_data").EmptyDict().Raw("(");
  for (const std::string& key : keys) {
    out.Text(key);
    out.Raw(")");
  }
  out.Raw("u").Name("storage_data").Raw("N");
  const std::string pickle = std::move(out).Finish(is_parsed);
  const StatusOr<Metadata> metadata = ParseMetadata(pickle);
  REQUIRE_FALSE(metadata.ok());
  CHECK_THAT(std::string(Message(metadata.status())),
             Contains("planner_data has keys that no table holds apart"));
}

TEST_CASE("what is too much for the machine is not scanned",
          "[metadata][bombs]") {
  // Empty texts; and a batch of more values than the machine's stack may have.
  const bool is_text = GENERATE(true, false);
  RawMetadata out;
  const Recall id = BeginModules(&out, "id");
  if (is_text) {
    Elements(&out, 5'000'000, {"\x8c\0", 2});
  } else {
    out.Raw("(");
    for (int i = 0; i < 1'000'001; ++i) out.Raw(id);
    out.Raw("e");
  }
  out.End();
  const std::string pickle = std::move(out).Finish(false);
  CHECK_FALSE(ReadPickle(pickle).ok());
  CHECK_FALSE(MetadataScanner(pickle).Scan().has_value());
}

}  // namespace
}  // namespace dcp
