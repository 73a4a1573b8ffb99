#include "storage/hugging_face_reader.h"

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "dcp/checkpoint.h"
#include "format/safetensors_header.h"
#include "format/safetensors_index.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

const IoOptions kIo{.engine = IoEngineKind::kThreads,
                    .direct_io = DirectIo::kOff,
                    .workers = 1};

SafetensorsTensor F32(std::string name, Dims shape) {
  return {.name = std::move(name),
          .dtype = SafetensorsDType::kF32,
          .shape = std::move(shape)};
}

/// Files in memory, and what is read of them.
struct Place {
  std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();

  Place() { REQUIRE(fs->MakeDirectories("/m").ok()); }

  void Put(const std::string& name, std::string_view bytes) {
    REQUIRE(WriteFile(*fs, "/m/" + name, bytes, SyncMode::kNone).ok());
  }

  /// A file whose data is 0, 1, 2, ... as float32.
  void PutTensors(const std::string& name, std::vector<SafetensorsTensor> list,
                  std::map<std::string, std::string> metadata = {}) {
    const auto head = SerializeSafetensorsHeader(std::move(list), metadata);
    REQUIRE(head.ok());
    std::string bytes = head->bytes;
    const int64_t nbytes = SafetensorsFileNbytes(head->header);
    for (float value = 0; std::ssize(bytes) < nbytes; ++value) {
      bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    bytes.resize(static_cast<size_t>(nbytes));
    Put(name, bytes);
  }

  /// A file of `rank`'s part of "w", at `offsets` as JSON.
  void PutPart(int rank, Dims shape, const std::string& offsets) {
    PutTensors("shard-0000" + std::to_string(rank) +
                   "-model-00001-of-00001.safetensors",
               {F32("w", std::move(shape))},
               {{"DCP_SHARDING_INFO",
                 R"({"w": {"saved_offsets": )" + offsets + "}}"}});
  }

  void PutIndex(std::map<std::string, std::string> weight_map,
                const std::string& name = "model.safetensors.index.json") {
    const auto text =
        SerializeSafetensorsIndex({.weight_map = std::move(weight_map)});
    REQUIRE(text.ok());
    Put(name, *text);
  }

  StatusOr<CheckpointIndex> ReadIndex() const {
    return MakeReaderByContent({.path = "/m", .io = kIo}, {.file_system = fs})
        ->ReadIndex();
  }

  Status status() const { return ReadIndex().status(); }

  std::vector<float> Read(const std::string& key, const Box& box) const {
    auto opened = Checkpoint::Open(
        MakeReaderByContent({.path = "/m", .io = kIo}, {.file_system = fs}));
    REQUIRE(opened.ok());
    std::vector<float> values(static_cast<size_t>(Numel(box.sizes)), -1.0F);
    const Status read = (*opened)->ReadTensor(
        key, box, ContiguousView(values.data(), DType::kFloat32, box.sizes));
    CAPTURE(Message(read));
    REQUIRE(read.ok());
    return values;
  }
};

TEST_CASE("a box of a tensor comes from its place in the file", "[storage]") {
  Place place;
  place.PutTensors("model.safetensors", {F32("a", {3}), F32("b", {4, 5})});
  // "b" begins after the three elements of "a".
  CHECK(place.Read("b", {.offsets = {1, 2}, .sizes = {2, 2}}) ==
        std::vector<float>{10, 11, 15, 16});
}

TEST_CASE("parts of ranks make one tensor", "[storage]") {
  Place place;
  place.PutPart(1, {2, 3}, "[0, 0]");
  place.PutPart(2, {1, 3}, "[2, 0]");
  CHECK(place.Read("w", {.offsets = {0, 0}, .sizes = {3, 3}}) ==
        std::vector<float>{0, 1, 2, 3, 4, 5, 0, 1, 2});
}

TEST_CASE("a reader by content tells the ranks which format there is",
          "[storage]") {
  Place place;
  place.PutTensors("model.safetensors", {F32("a", {3})});
  const auto index = place.ReadIndex();
  REQUIRE(index.ok());
  CHECK(IsSafetensors(*index));
  CHECK_FALSE(index->metadata.planner_data.has_value());
}

TEST_CASE("an empty directory has no checkpoint", "[storage]") {
  CHECK(Place().status().code() == absl::StatusCode::kNotFound);
  const Place place;
  CHECK(MakeHuggingFaceReader({.path = "/m"}, {.file_system = place.fs})
            ->ReadIndex()
            .status()
            .code() == absl::StatusCode::kNotFound);
}

TEST_CASE("both formats in one directory are a question", "[storage]") {
  Place place;
  place.PutTensors("model.safetensors", {F32("a", {3})});
  place.Put(GENERATE(".metadata", "__3.metadata"), "x");
  CHECK(place.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("numbered files without an index must all be there", "[storage]") {
  Place place;
  place.PutTensors("model-00001-of-00003.safetensors", {F32("a", {3})});
  place.PutTensors("model-00003-of-00003.safetensors", {F32("c", {3})});
  CHECK(place.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(place.status())),
             Contains("model-00002-of-00003.safetensors"));
  place.PutTensors("model-00002-of-00003.safetensors", {F32("b", {3})});
  CHECK(place.status().ok());
}

TEST_CASE("one file of one may have numbers", "[storage]") {
  Place place;
  place.PutTensors("model-00001-of-00001.safetensors", {F32("a", {3})});
  CHECK(place.status().ok());
}

TEST_CASE("the framework's name is no tensor's other name", "[storage]") {
  Place place;
  place.PutTensors("model.safetensors", {F32("pt", {3})}, {{"format", "pt"}});
  const auto index = place.ReadIndex();
  REQUIRE(index.ok());
  CHECK(index->metadata.entries().size() == 1);
}

TEST_CASE("parts that contradict each other are damage", "[storage]") {
  Place place;
  place.PutPart(1, {2, 3}, "[0, 0]");
  std::string expected;
  SECTION("in their place") {
    place.PutPart(2, {2, 3}, "[0, 0]");
    expected = "is in shard-00001-model-00001-of-00001.safetensors too";
  }
  SECTION("in their dimensions") {
    place.PutPart(2, {2}, "[2]");
    expected = "number of dimensions";
  }
  SECTION("in what the file says of itself") {
    place.PutPart(2, {2, 3}, "[2]");
    expected = "does not say which part";
  }
  SECTION("in reaching beyond all bounds") {
    place.PutPart(2, {2, 3}, "[9223372036854775807, 0]");
    expected = "does not say which part";
  }
  SECTION("in reaching so far that nothing could hold the tensor") {
    place.PutPart(2, {2, 3}, "[9223372036854775800, 9]");
    expected = "2^63 elements";
  }
  const Status status = place.status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains(expected));
  CHECK(GetErrorDetail(status).value_or(ErrorDetail{}).fqn == "w");
}

TEST_CASE("an index that names what is not there is damage", "[storage]") {
  Place place;
  place.PutTensors("model.safetensors", {F32("a", {3})});
  place.PutIndex({{"a", "model.safetensors"}, {"b", "model.safetensors"}});
  CHECK(place.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(place.status())), Contains("key b"));
}

TEST_CASE("types that torch lacks are named", "[storage]") {
  Place place;
  place.PutTensors(
      "model.safetensors",
      {{.name = "a", .dtype = SafetensorsDType::kF6E2M3, .shape = Dims{4}}});
  CHECK(place.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(Message(place.status())), Contains("F6_E2M3"));
}

}  // namespace
}  // namespace dcp
