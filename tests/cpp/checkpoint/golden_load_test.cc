// Load gets from every golden checkpoint what stock torch said is in it.

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "dcp/checkpoint.h"
#include "format/bytes.h"
#include "format/golden.h"

namespace dcp {
namespace {

using nlohmann::json;

Dims DimsOf(const json& values) {
  Dims dims;
  for (const json& value : values) dims.push_back(value.get<int64_t>());
  return dims;
}

/// One item of expected.json and what a load made of it.
struct GoldenItem {
  json expected;
  Box box;
  std::string bytes;
};

/// The items of one metadata file that libdcp itself can read.
std::vector<GoldenItem> ItemsOf(const json& metadata) {
  std::vector<GoldenItem> items;
  for (const json& item : metadata["storage"]) {
    const std::string kind = item["item"]["kind"];
    if (kind != "tensor" && kind != "object") continue;
    GoldenItem golden{.expected = item};
    if (kind == "tensor") {
      golden.box = {.offsets = DimsOf(item["offset"]),
                    .sizes = DimsOf(item["item"]["sizes"])};
    }
    items.push_back(std::move(golden));
  }
  return items;
}

/// Loads whole chunks, and objects.
class GoldenRequest final : public LoadRequest {
 public:
  explicit GoldenRequest(std::vector<GoldenItem>& items) : items_(items) {}

  StatusOr<std::vector<LoadEntry>> MakeEntries(
      const Metadata& metadata) override {
    std::vector<LoadEntry> entries;
    for (GoldenItem& item : items_) {
      const std::string fqn = item.expected["fqn"];
      if (item.expected["item"]["kind"] == "object") {
        entries.push_back(ObjectLoad(fqn));
        continue;
      }
      const TensorStorageMetadata* tensor = metadata.FindTensor(fqn);
      if (tensor == nullptr) return Internal("no tensor " + fqn);
      const auto dtype =
          ParseDType(item.expected["item"]["dtype"].get<std::string>());
      item.bytes.assign(
          static_cast<size_t>(item.box.numel() * ItemSize(*dtype)), '?');
      entries.push_back(ShardLoad(
          fqn, ContiguousView(item.bytes.data(), *dtype, item.box.sizes),
          tensor->size, item.box.offsets));
    }
    return entries;
  }

 private:
  std::vector<GoldenItem>& items_;
};

void CheckItem(const GoldenItem& item) {
  const json& content = item.expected["item"];
  INFO(item.expected["fqn"]);
  if (content["kind"] == "object") {
    const auto value = DecodeObject(item.bytes);
    CHECK((value.ok() ||
           value.status().code() == absl::StatusCode::kUnimplemented));
    CHECK(value.ok() == (content["value"]["t"] != "unsupported"));
    return;
  }
  // The CRC is of the stored bytes, which conj and neg change on the way.
  if (content["conj"].get<bool>() || content["neg"].get<bool>()) return;
  CHECK(Crc32(0, AsBytes(item.bytes)) == content["crc32"].get<uint32_t>());
}

/// Loads rank `rank`'s view of the checkpoint; returns how many items it has.
size_t CheckFolder(const std::filesystem::path& folder, const json& metadata) {
  std::vector<GoldenItem> items = ItemsOf(metadata);
  GoldenRequest request(items);
  const auto reader = MakeFileSystemReader({.path = folder.string()});
  const auto transport = MakeSingleProcessTransport();
  const auto loaded = Load(request, *reader, *transport, {});
  INFO(folder << ": " << Message(loaded.status()));
  REQUIRE(loaded.ok());
  for (const LoadedObject& object : loaded->objects) {
    items[static_cast<size_t>(object.entry)].bytes = object.bytes;
  }
  for (const GoldenItem& item : items) CheckItem(item);
  return items.size();
}

TEST_CASE("golden checkpoints load with the values that torch saw",
          "[checkpoint][golden]") {
  size_t checkpoints = 0;
  size_t items = 0;
  for (const std::filesystem::path& folder : GoldenCheckpoints()) {
    if (!exists(folder / "expected.json")) continue;
    const json expected = json::parse(ReadWholeFile(folder / "expected.json"));
    for (const auto& [name, metadata] : expected["metadata"].items()) {
      // Rank 0's own metadata is what a load of one process finds.
      if (name != ".metadata" && name != "__0.metadata") continue;
      items += CheckFolder(folder, metadata);
      ++checkpoints;
    }
  }
  CHECK(checkpoints == 64);
  CHECK(items > 300);
}

}  // namespace
}  // namespace dcp
