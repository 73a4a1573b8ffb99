// MetadataScanner and MetadataParser, which must agree on every file.

#include "format/metadata_scanner.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "dcp/metadata_codec.h"
#include "format/golden.h"
#include "format/metadata_parser.h"
#include "format/pickle_builder.h"
#include "format/pickle_reader.h"

namespace dcp {
namespace {

using enum PickleOp;

constexpr char kModule[] = "torch.distributed.checkpoint.metadata";

/// What the parser makes of `pickle`, without the scanner.
StatusOr<Metadata> Parsed(const std::string& pickle) {
  DCP_ASSIGN_OR_RETURN(const PickleGraph graph, ReadPickle(pickle));
  return MetadataParser(graph).Parse();
}

/// Whether the scanner reads `pickle`; if so, as the parser does.
bool ScansAsParsed(const std::string& pickle) {
  const std::optional<Metadata> scanned = MetadataScanner(pickle).Scan();
  if (!scanned) return false;
  const StatusOr<Metadata> parsed = Parsed(pickle);
  INFO(parsed.status());
  REQUIRE(parsed.ok());
  CHECK(scanned->entries() == parsed->entries());
  CHECK(scanned->planner_data == parsed->planner_data);
  CHECK(scanned->storage_data == parsed->storage_data);
  CHECK(scanned->storage_meta == parsed->storage_meta);
  CHECK(scanned->version == parsed->version);
  CHECK(parsed->ignored_attributes.empty());
  const auto look = ParseMetadataWithoutPaths(pickle);
  REQUIRE(look.ok());
  CHECK(look->entries() == parsed->entries());
  CHECK_FALSE(look->planner_data.has_value());
  CHECK(look->storage_data == parsed->storage_data);
  for (const auto& [index, info] : parsed->storage_data) {
    CHECK(scanned->storage_data.find(index)->first.index == index.index);
  }
  return true;
}

/// `keys` tensors of `chunks` chunks each, with all that a tensor has.
Metadata Sharded(int64_t keys, int64_t chunks) {
  Metadata metadata;
  metadata.planner_data.emplace();
  for (int64_t k = 0; k < keys; ++k) {
    const std::string fqn = "layers." + std::to_string(k);
    TensorStorageMetadata tensor{.size = {70000 * chunks, 3}};
    for (int64_t c = 0; c < chunks; ++c) {
      const Box& chunk = tensor.chunks.emplace_back(
          Box{.offsets = {70000 * c, 0}, .sizes = {70000, 3}});
      metadata.storage_data[{.fqn = fqn, .offset = chunk.offsets, .index = c}] =
          {.relative_path = "__" + std::to_string(c) + "_0.distcp",
           .offset = k << 33,
           .length = 70000 * 12};
    }
    metadata.Add(fqn, std::move(tensor));
    (*metadata.planner_data)[fqn] = {std::string("layers"), k};
  }
  metadata.version = "1.0.0";
  return metadata;
}

std::string Pickled(const Metadata& metadata) {
  return SerializeMetadata(metadata).value();
}

/// CPython ends a dict of 1001 with SETITEM, not with another batch.
std::string WithSingleLastItems(std::string pickle) {
  const std::string mark_key = "u(\x8c\x0blayers.1000";
  const size_t at = pickle.find(mark_key);
  REQUIRE(at != std::string::npos);
  pickle.erase(at + 1, 1);
  return pickle;
}

TEST_CASE("the scanner reads what every torch wrote", "[metadata][scanner]") {
  std::vector<std::string> left;
  size_t count = 0;
  for (const std::filesystem::path& folder : GoldenCheckpoints()) {
    const std::string pickle = ReadWholeFile(folder / ".metadata");
    if (pickle.empty()) continue;
    ++count;
    INFO(folder);
    if (!ScansAsParsed(pickle)) left.push_back(folder.filename());
  }
  CHECK(count > 50);
  // One key; another format; attributes that are not torch's.
  const std::vector<std::string> expected = {"torch_1_12", "absolute_path",
                                             "megatron_like", "absolute_path",
                                             "absolute_path"};
  CHECK(left == expected);
}

TEST_CASE("the scanner reads what dcp writes", "[metadata][scanner]") {
  CHECK(ScansAsParsed(Pickled(Metadata())));
  CHECK(ScansAsParsed(Pickled(Sharded(1, 1))));
  CHECK(ScansAsParsed(Pickled(Sharded(3, 2500))));
  CHECK(ScansAsParsed(Pickled(Sharded(2500, 3))));
  Metadata metadata = Sharded(4, 4);
  metadata.Add("step", BytesStorageMetadata{});
  metadata.storage_data[{.fqn = "step"}] = {
      .relative_path = "f", .transform_descriptors = {"a", "b"}};
  metadata.Add("scalar", TensorStorageMetadata{.chunks = {Box{}}});
  metadata.storage_data[{.fqn = "scalar", .offset = Dims{}}] = {};
  metadata.Add(
      "deep", TensorStorageMetadata{.size = Dims::Filled(64, 1),
                                    .chunks = {WholeBox(Dims::Filled(64, 1))}});
  metadata.storage_meta = {.checkpoint_id = "id", .modules = {"m", "n"}};
  CHECK(ScansAsParsed(Pickled(metadata)));
}

TEST_CASE("negative and wide numbers are scanned", "[metadata][scanner]") {
  Metadata metadata = Sharded(1, 1);
  auto& [index, info] = *metadata.storage_data.begin();
  for (const int64_t value : {int64_t{255}, int64_t{256}, int64_t{1} << 16,
                              int64_t{1} << 31, int64_t{1} << 62}) {
    info.offset = value;
    CHECK(ScansAsParsed(Pickled(metadata)));
  }
  info.offset = -1;
  CHECK_FALSE(ScansAsParsed(Pickled(metadata)));
}

TEST_CASE("a last item without MARK is scanned", "[metadata][scanner]") {
  const std::string pickle = Pickled(Sharded(1001, 1));
  CHECK(ScansAsParsed(pickle));
  // The batch's one key and value, then SETITEM for SETITEMS.
  std::string single = WithSingleLastItems(pickle);
  const size_t next = single.find("planner_data");
  REQUIRE(single[next - 3] == static_cast<char>(kSetItems));
  single[next - 3] = static_cast<char>(kSetItem);
  // No frame ends at the same bytes as before: leave them out.
  std::string unframed = single.substr(0, 2);
  for (size_t at = 2; at < single.size(); ++at) {
    if (single[at] == static_cast<char>(kFrame) &&
        single.substr(at + 4, 5) == std::string(5, '\0')) {
      at += 8;
    } else {
      unframed += single[at];
    }
  }
  CHECK(Parsed(unframed).ok());
  CHECK(ScansAsParsed(unframed));
}

TEST_CASE("what is not scanned is parsed", "[metadata][scanner]") {
  // Attributes one by one, as no pickler writes them, and one of them foreign.
  const std::string pickle = PickleOf(
      PickleProtocol::k4,
      Object(kModule, "Metadata",
             {{"state_dict_metadata", Dict({})}, {"mcore_data", Dict({})}}));
  CHECK_FALSE(MetadataScanner(pickle).Scan().has_value());
  CHECK(ParseMetadata(pickle)->ignored_attributes ==
        std::vector<std::string>{"mcore_data"});
  CHECK(ParseMetadataWithoutPaths(pickle)->ignored_attributes ==
        std::vector<std::string>{"mcore_data"});
}

TEST_CASE("no truncated file is scanned", "[metadata][scanner]") {
  const std::string pickle = Pickled(Sharded(2, 3));
  for (size_t n = 0; n < pickle.size(); ++n) {
    REQUIRE_FALSE(MetadataScanner(pickle.substr(0, n)).Scan().has_value());
    REQUIRE_FALSE(ParseMetadataWithoutPaths(pickle.substr(0, n)).ok());
  }
  CHECK_FALSE(MetadataScanner(pickle + "x").Scan().has_value());
}

TEST_CASE("attributes that are given to no object are not scanned",
          "[metadata][scanner]") {
  std::string pickle = Pickled(Sharded(2, 3));
  const size_t at = pickle.find("version") - 3;
  // Of storage_meta, None: SETITEMS without MARK and BUILD.
  REQUIRE(pickle[at] == static_cast<char>(kNone));
  pickle.insert(at + 1, 1, static_cast<char>(kSetItems));
  CHECK_FALSE(ScansAsParsed(pickle));
}

TEST_CASE("damage that is scanned is parsed alike", "[metadata][scanner]") {
  const std::string pickle = Pickled(Sharded(2, 3));
  std::mt19937 rng(5);
  int scanned = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string damaged = pickle;
    const size_t at = rng() % damaged.size();
    damaged[at] = static_cast<char>(rng());
    if (ScansAsParsed(damaged)) ++scanned;
  }
  CHECK(scanned > 1000);
}

}  // namespace
}  // namespace dcp
