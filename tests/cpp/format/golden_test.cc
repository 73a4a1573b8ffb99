// Every golden checkpoint says what stock torch said about it.

#include "format/golden.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "dcp/metadata_codec.h"
#include "format/bytes.h"
#include "format/layout_names.h"
#include "format/memory_item_source.h"
#include "format/object_item.h"
#include "format/strided.h"
#include "format/torch_item_reader.h"
#include "format/zstd_transform.h"

namespace dcp {
namespace {

using nlohmann::json;

Dims DimsOf(const json& values) {
  Dims dims;
  for (const json& value : values) dims.push_back(value.get<int64_t>());
  return dims;
}

std::optional<std::string> OptionalOf(const json& value) {
  if (value.is_null()) return std::nullopt;
  return value.get<std::string>();
}

StorageMetadata EntryOf(const json& entry) {
  if (entry["kind"] == "bytes") return BytesStorageMetadata{};
  TensorStorageMetadata tensor;
  tensor.properties = {
      .dtype = ParseDType(entry["dtype"].get<std::string>()).value(),
      .layout =
          ParseLayout("torch." + entry["layout"].get<std::string>()).value(),
      .requires_grad = entry["requires_grad"],
      .memory_format = entry["memory_format"].get<MemoryFormat>(),
      .pin_memory = entry["pin_memory"]};
  tensor.size = DimsOf(entry["size"]);
  for (const json& chunk : entry["chunks"]) {
    tensor.chunks.push_back(
        {.offsets = DimsOf(chunk["offsets"]), .sizes = DimsOf(chunk["sizes"])});
  }
  return tensor;
}

/// The Metadata that expected.json describes.
Metadata MetadataOf(const json& expected) {
  Metadata metadata;
  for (const json& entry : expected["entries"]) {
    metadata.Add(entry["fqn"].get<std::string>(), EntryOf(entry));
  }
  if (!expected["planner_data"].is_null()) {
    auto& paths = metadata.planner_data.emplace();
    for (const auto& [key, parts] : expected["planner_data"].items()) {
      for (const json& part : parts) {
        part.is_number() ? paths[key].emplace_back(part.get<int64_t>())
                         : paths[key].emplace_back(part.get<std::string>());
      }
    }
  }
  for (const json& item : expected["storage"]) {
    MetadataIndex index{.fqn = item["fqn"]};
    if (!item["offset"].is_null()) index.offset = DimsOf(item["offset"]);
    metadata.storage_data[index] = {
        .relative_path = item["path"],
        .offset = item["byte_offset"],
        .length = item["length"],
        .transform_descriptors = item["transforms"]};
  }
  if (const json& meta = expected["storage_meta"]; !meta.is_null()) {
    metadata.storage_meta = {.checkpoint_id = OptionalOf(meta["checkpoint_id"]),
                             .save_id = OptionalOf(meta["save_id"]),
                             .load_id = OptionalOf(meta["load_id"]),
                             .modules = meta["modules"]};
  }
  metadata.version = OptionalOf(expected["version"]);
  metadata.ignored_attributes = expected["ignored"];
  std::sort(metadata.ignored_attributes.begin(),
            metadata.ignored_attributes.end());
  return metadata;
}

void CheckMetadata(const std::string& pickle, const json& expected) {
  auto parsed = ParseMetadata(pickle);
  INFO(parsed.status());
  REQUIRE(parsed.ok());
  const Metadata wanted = MetadataOf(expected);
  std::sort(parsed->ignored_attributes.begin(),
            parsed->ignored_attributes.end());
  CHECK(parsed->entries() == wanted.entries());
  CHECK(parsed->planner_data == wanted.planner_data);
  CHECK(parsed->storage_data == wanted.storage_data);
  CHECK(parsed->storage_meta == wanted.storage_meta);
  CHECK(parsed->version == wanted.version);
  CHECK(parsed->ignored_attributes == wanted.ignored_attributes);

  const auto written = SerializeMetadata(*parsed);
  REQUIRE(written.ok());
  const auto again = ParseMetadata(*written);
  REQUIRE(again.ok());
  CHECK(again->entries() == parsed->entries());
  CHECK(again->storage_data == parsed->storage_data);
}

/// The ObjectValue of a tagged JSON value; see describe_object.
ObjectValue ObjectOf(const json& value) {
  const std::string type = value["t"];
  if (type == "none") return {ObjectNone{}};
  if (type == "bool") return {value["v"].get<bool>()};
  const json& held = value["v"];
  if (type == "int") return {int64_t{std::stoll(held.get<std::string>())}};
  if (type == "float") return {std::stod(held.get<std::string>())};
  if (type == "str") return {held.get<std::string>()};
  if (type == "bytes") {
    ObjectBytes bytes;
    const std::string hex = held;
    for (size_t i = 0; i < hex.size(); i += 2) {
      bytes.data += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    }
    return {bytes};
  }
  std::vector<ObjectValue> items;
  if (type == "dict") {
    ObjectDict dict;
    for (const json& item : held) {
      dict.items.push_back({item[0].get<std::string>(), ObjectOf(item[1])});
    }
    return {dict};
  }
  for (const json& item : held) items.push_back(ObjectOf(item));
  if (type == "list") return {ObjectList{items}};
  REQUIRE(type == "tuple");
  return {ObjectTuple{items}};
}

void CheckTensor(std::string_view item, const json& expected) {
  MemoryItemSource source(AsBytes(item));
  const auto info = ParseTensorItem(source, static_cast<int64_t>(item.size()));
  INFO(info.status());
  REQUIRE(info.ok());
  REQUIRE(info->needs_torch == (expected["kind"] != "tensor"));
  if (info->needs_torch) return;
  CHECK(DTypeName(info->dtype) == expected["dtype"].get<std::string>());
  CHECK(info->sizes == DimsOf(expected["sizes"]));
  CHECK(info->conj == expected["conj"].get<bool>());
  CHECK(info->neg == expected["neg"].get<bool>());
  const std::string bytes = RowMajorBytes(*info, item);
  CHECK(bytes.size() == expected["nbytes"].get<size_t>());
  CHECK(Crc32(0, AsBytes(bytes)) == expected["crc32"].get<uint32_t>());
}

void CheckObject(std::string_view item, const json& expected) {
  const auto value = DecodeObjectItem(item);
  INFO(value.status());
  if (expected["t"] == "unsupported") {
    CHECK(value.status().code() == absl::StatusCode::kUnimplemented);
    return;
  }
  REQUIRE(value.ok());
  CHECK(*value == ObjectOf(expected));
}

void CheckItem(const std::filesystem::path& folder, const json& expected) {
  const json& content = expected["item"];
  if (content["kind"] == "absent") return;
  INFO(expected["fqn"]);
  const std::string file =
      ReadWholeFile(folder / expected["path"].get<std::string>());
  std::string item = file.substr(expected["byte_offset"], expected["length"]);
  for (const json& transform : expected["transforms"]) {
    REQUIRE(transform == kZstdDescriptor);
    const auto plain = ZstdDecompress(item, int64_t{1} << 20);
    REQUIRE(plain.ok());
    item = *plain;
  }
  CHECK(VerifyItemCrcs(AsBytes(item)).ok());
  if (content["kind"] == "object") {
    CheckObject(item, content["value"]);
  } else {
    CheckTensor(item, content);
  }
}

TEST_CASE("golden checkpoints hold what torch says they hold", "[golden]") {
  size_t checked = 0;
  for (const std::filesystem::path& folder : GoldenCheckpoints()) {
    if (!exists(folder / "expected.json")) continue;
    INFO(folder);
    const json expected = json::parse(ReadWholeFile(folder / "expected.json"));
    REQUIRE_FALSE(expected["metadata"].empty());
    for (const auto& [name, metadata] : expected["metadata"].items()) {
      CheckMetadata(ReadWholeFile(folder / name), metadata);
      for (const json& item : metadata["storage"]) CheckItem(folder, item);
    }
    ++checked;
  }
  CHECK(checked == 64);
}

TEST_CASE("the format of torch 1.12 is refused by name", "[golden]") {
  const auto parsed = ParseMetadata(
      ReadWholeFile(std::filesystem::path(DCP_GOLDEN_DIR) /
                    "torch-1.12.1-py3.10" / "torch_1_12" / ".metadata"));
  CHECK(parsed.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(Message(parsed.status())),
             Catch::Matchers::Contains("torch 1.12"));
}

TEST_CASE("one flipped bit in any item is found by its CRCs", "[golden]") {
  const std::string item =
      ReadWholeFile(std::filesystem::path(DCP_GOLDEN_DIR) /
                    "torch-2.13.0-py3.11" / "file_per_item" / "__0_1.distcp");
  MemoryItemSource source(AsBytes(item));
  const auto info = ParseTensorItem(source, static_cast<int64_t>(item.size()));
  REQUIRE(info.ok());
  for (int64_t i = 0; i < info->data_nbytes; ++i) {
    std::string damaged = item;
    char& byte = damaged[static_cast<size_t>(info->data_offset + i)];
    byte = static_cast<char>(byte ^ 0x10);
    const Status status = VerifyItemCrcs(AsBytes(damaged));
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(status)),
               Catch::Matchers::Contains("archive/data/0"));
  }
}

}  // namespace
}  // namespace dcp
