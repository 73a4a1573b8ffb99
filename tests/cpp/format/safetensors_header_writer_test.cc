#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "format/safetensors_header.h"
#include "format/safetensors_testing.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using enum SafetensorsDType;

std::string TextOf(const SafetensorsHead& head) { return head.bytes.substr(8); }

std::string Refusal(std::vector<SafetensorsTensor> tensors,
                    std::map<std::string, std::string> metadata = {},
                    const SafetensorsWriteOptions& options = {}) {
  const Status status = SerializeSafetensorsHeader(std::move(tensors),
                                                   std::move(metadata), options)
                            .status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  return std::string(Message(status));
}

// safetensors 0.8.0: serialize(..., {"format": "pt"}).
TEST_CASE("a header is what safetensors writes, byte by byte",
          "[safetensors]") {
  const auto head = SerializeSafetensorsHeader(
      {{.name = "b", .dtype = kF32, .shape = {2, 3}},
       {.name = "a\"\n\xc3\xa9", .dtype = kF32, .shape = {}},
       {.name = "n", .dtype = kBool, .shape = {3}},
       {.name = "z", .dtype = kI64, .shape = {0}},
       {.name = "q", .dtype = kF4, .shape = {4}}},
      {{"format", "pt"}});
  REQUIRE(head.ok());
  const std::string text =
      R"({"__metadata__":{"format":"pt"},)"
      R"("z":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},)"
      R"("a\"\n)"
      "\xc3\xa9"
      R"(":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"F32","shape":[2,3],"data_offsets":[4,28]},)"
      R"("q":{"dtype":"F4","shape":[4],"data_offsets":[28,30]},)"
      R"("n":{"dtype":"BOOL","shape":[3],"data_offsets":[30,33]}})";
  const std::string padding(7 - (text.size() - 1) % 8, ' ');
  CHECK(head->bytes == HeadOf(text + padding));
  CHECK(head->header.data_offset % 8 == 0);
  CHECK(SafetensorsFileNbytes(head->header) == std::ssize(head->bytes) + 33);
}

TEST_CASE("a file of nothing has a header of eight bytes", "[safetensors]") {
  const auto head = SerializeSafetensorsHeader({}, {});
  REQUIRE(head.ok());
  CHECK(head->bytes == LengthBytes(8) + "{}      ");
  CHECK(TextOf(*SerializeSafetensorsHeader({}, {{"b", "2"}, {"a", "1"}})) ==
        R"({"__metadata__":{"a":"1","b":"2"}}      )");
}

TEST_CASE("types go from the last to the first, then names by their bytes",
          "[safetensors]") {
  std::vector<SafetensorsTensor> tensors;
  for (const SafetensorsDTypeInfo& info : AllSafetensorsDTypes()) {
    for (const char* name : {"b", "a.1", "a", "\xc3\xa9", "Z"}) {
      tensors.push_back({.name = name + std::string(info.name),
                         .dtype = info.dtype,
                         .shape = {4}});
    }
  }
  std::mt19937_64 rng(1);
  std::shuffle(tensors.begin(), tensors.end(), rng);
  const auto head = SerializeSafetensorsHeader(tensors, {});
  REQUIRE(head.ok());
  const std::vector<SafetensorsTensor>& placed = head->header.tensors;
  CHECK(placed.front().name == "ZU64");
  CHECK(placed.back().name ==
        "\xc3\xa9"
        "BOOL");
  for (size_t i = 1; i < placed.size(); ++i) {
    CHECK(placed[i].begin == placed[i - 1].end);
    CHECK(placed[i].dtype <= placed[i - 1].dtype);
    if (placed[i].dtype == placed[i - 1].dtype) {
      CHECK(placed[i - 1].name < placed[i].name);
    }
    // Nothing that has whole bytes lies where it is not aligned.
    const int nbits = GetSafetensorsDTypeInfo(placed[i].dtype).nbits;
    if (nbits >= 8) CHECK(placed[i].begin % (nbits / 8) == 0);
  }
}

TEST_CASE("the data can begin at a page", "[safetensors]") {
  const std::vector<SafetensorsTensor> tensors = {
      {.name = "a", .dtype = kU8, .shape = {5}}};
  const auto plain = SerializeSafetensorsHeader(tensors, {});
  for (const int64_t alignment : {8, 64, 4096, 1 << 20}) {
    const auto head =
        SerializeSafetensorsHeader(tensors, {}, {.data_alignment = alignment});
    REQUIRE(head.ok());
    CHECK(std::ssize(head->bytes) == std::max<int64_t>(alignment, 64));
    CHECK(head->header.data_offset == std::ssize(head->bytes));
    const std::string text = TextOf(*head);
    CHECK(text.substr(0, text.find_last_not_of(' ') + 1) ==
          TextOf(*plain).substr(0, TextOf(*plain).find_last_not_of(' ') + 1));
    CHECK(*ParseSafetensorsHeader(AsBytes(head->bytes),
                                  std::ssize(head->bytes) + 5) == head->header);
  }
  for (const int64_t alignment : {-8, 0, 1, 4, 12, 4095}) {
    CHECK_THAT(Refusal(tensors, {}, {.data_alignment = alignment}),
               Contains("alignment"));
  }
  CHECK_THAT(Refusal(tensors, {}, {.data_alignment = int64_t{1} << 62}),
             Contains("limit"));
}

TEST_CASE("what no reader would accept is not written", "[safetensors]") {
  const SafetensorsTensor a = {.name = "a", .dtype = kU8, .shape = {1}};
  const SafetensorsTensor b = {.name = "b", .dtype = kI64, .shape = {1}};
  CHECK_THAT(Refusal({a, b, a}), Contains("have the name \"a\""));
  SafetensorsTensor bad = a;
  SECTION("the metadata's name") {
    bad.name = "__metadata__";
    CHECK_THAT(Refusal({b, bad}), Contains("have the name \"__metadata__\""));
  }
  SECTION("a name or metadata that is not UTF-8") {
    bad.name = "\xff";
    CHECK_THAT(Refusal({bad}), Contains("tensor name \"\\xff\" is not UTF-8"));
    CHECK_THAT(Refusal({a}, {{"\xff", ""}}), Contains("metadata key"));
    CHECK_THAT(Refusal({a}, {{"k", "\xed\xa0\x80"}}),
               Contains("metadata value"));
  }
  SECTION("half a byte") {
    bad.dtype = kF4;
    CHECK_THAT(Refusal({bad}), Contains("\"a\" of shape [1] and type F4"));
  }
  SECTION("sizes that no file has") {
    constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
    for (const Dims& shape :
         {Dims{-1}, Dims{kHuge, 2}, Dims{0, kHuge, kHuge}, Dims{kHuge}}) {
      bad.shape = shape;
      CHECK_THAT(Refusal({bad}), Contains("does not fit a safetensors file"));
    }
    bad.shape = {kHuge / 2};
    SafetensorsTensor more = bad;
    more.name = "c";
    CHECK(SerializeSafetensorsHeader({bad}, {}).ok());
    CHECK_THAT(Refusal({bad, more, b}), Contains("does not fit"));
    bad.shape = Dims::Filled(65, 1);
    CHECK_THAT(Refusal({bad}), Contains("64 dimensions"));
  }
  SECTION("a header beyond the limit") {
    bad.name = std::string(100'000'000, 'x');
    CHECK_THAT(Refusal({bad}), Contains("use more files"));
  }
}

std::string RandomName(std::mt19937_64& rng) {
  const char* const kPieces[] = {"w",  ".",    "0",        "\"",
                                 "\\", "\n",   "\xc3\xa9", "__",
                                 "a",  "\x01", " ",        "\xf0\x9f\x98\x80"};
  std::string name;
  for (size_t i = rng() % 8; i > 0; --i) {
    name += kPieces[rng() % std::size(kPieces)];
  }
  return name;
}

SafetensorsTensor RandomTensor(std::mt19937_64& rng, size_t number) {
  const auto dtypes = AllSafetensorsDTypes();
  SafetensorsTensor tensor{.name = RandomName(rng) + std::to_string(number),
                           .dtype = dtypes[rng() % dtypes.size()].dtype};
  for (size_t i = rng() % 5; i > 0; --i) {
    tensor.shape.push_back(static_cast<int64_t>(rng() % 5));
  }
  // Whole bytes of all types.
  const int nbits = GetSafetensorsDTypeInfo(tensor.dtype).nbits;
  if (nbits % 8 != 0) tensor.shape.push_back(4);
  return tensor;
}

TEST_CASE("what is written is read again, and written again the same",
          "[safetensors]") {
  std::mt19937_64 rng(7);
  for (int round = 0; round < 1000; ++round) {
    std::vector<SafetensorsTensor> tensors;
    for (size_t i = rng() % 30; i > 0; --i) {
      tensors.push_back(RandomTensor(rng, i));
    }
    std::map<std::string, std::string> metadata;
    for (size_t i = rng() % 4; i > 0; --i) {
      metadata[RandomName(rng)] = RandomName(rng);
    }
    const int64_t alignment = int64_t{8} << rng() % 10;
    const auto head = SerializeSafetensorsHeader(tensors, metadata,
                                                 {.data_alignment = alignment});
    REQUIRE(head.ok());
    REQUIRE(std::ssize(head->bytes) % alignment == 0);
    REQUIRE(head->header.tensors.size() == tensors.size());
    const auto read = ParseSafetensorsHeader(
        AsBytes(head->bytes), SafetensorsFileNbytes(head->header));
    REQUIRE(read.ok());
    REQUIRE(*read == head->header);
    std::shuffle(tensors.begin(), tensors.end(), rng);
    REQUIRE(SerializeSafetensorsHeader(read->tensors, read->metadata,
                                       {.data_alignment = alignment})
                ->bytes == head->bytes);
    REQUIRE(SerializeSafetensorsHeader(tensors, metadata,
                                       {.data_alignment = alignment})
                ->bytes == head->bytes);
  }
}

}  // namespace
}  // namespace dcp
