// What MetadataParser accepts and refuses, in files written value by value.

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "dcp/metadata_codec.h"
#include "format/bytes.h"
#include "format/pickle_builder.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using enum PickleOp;

constexpr char kModule[] = "torch.distributed.checkpoint.metadata";

Metadata Parse(const std::string& pickle) {
  auto metadata = ParseMetadata(pickle);
  INFO(metadata.status());
  REQUIRE(metadata.ok());
  return *std::move(metadata);
}

/// A `.metadata` with these attributes.
std::string File(std::vector<std::pair<std::string, Write>> attributes) {
  return PickleOf(PickleProtocol::k4,
                  Object(kModule, "Metadata", std::move(attributes)));
}

/// The parts of a tensor's entry that a test may replace.
struct TensorParts {
  Write dtype = Global("torch", "float32");
  Write layout =
      Call("torch.serialization", "_get_layout", Tuple({Str("torch.strided")}));
  Write memory_format = Call(kModule, "_MEM_FORMAT_ENCODING", Tuple({Int(0)}));
  Write size = Size({2});
  Write offsets = Size({0});
  Write sizes = Size({2});
};

Write Tensor(const TensorParts& parts) {
  const Write properties = [=](PickleWriter* out) {
    out->Global(kModule, "TensorProperties");
    out->Ops({kEmptyTuple, kNewObj});
    Tuple({parts.dtype, parts.layout, kNo, parts.memory_format, kNo})(out);
    out->Op(kBuild);
  };
  return Object(
      kModule, "TensorStorageMetadata",
      {{"properties", properties},
       {"size", parts.size},
       {"chunks",
        List({Object(kModule, "ChunkStorageMetadata",
                     {{"offsets", parts.offsets}, {"sizes", parts.sizes}})})}});
}

std::string TensorFile(const TensorParts& parts) {
  return File({{"state_dict_metadata", Dict({{Str("w"), Tensor(parts)}})}});
}

std::pair<absl::StatusCode, std::string> ErrorOf(const std::string& pickle) {
  const auto parsed = ParseMetadata(pickle);
  REQUIRE_FALSE(parsed.ok());
  return {parsed.status().code(), std::string(Message(parsed.status()))};
}

TEST_CASE("a minimal file has defaults for what is absent", "[metadata]") {
  const Metadata metadata = Parse(TensorFile({}));
  REQUIRE(metadata.FindTensor("w") != nullptr);
  CHECK(metadata.FindTensor("w")->size == Dims{2});
  CHECK_FALSE(metadata.planner_data.has_value());
  CHECK_FALSE(metadata.storage_meta.has_value());
  CHECK_FALSE(metadata.version.has_value());
  CHECK(metadata.storage_data.empty());
}

TEST_CASE("shapes may be tuples or lists as well as torch.Size", "[metadata]") {
  const Write shape = GENERATE(Tuple({Int(2)}), List({Int(2)}), Size({2}));
  const Metadata metadata = Parse(TensorFile({.size = shape, .sizes = shape}));
  CHECK(metadata.FindTensor("w")->chunks[0].sizes == Dims{2});
}

TEST_CASE("enums pickled by name are understood", "[metadata]") {
  // As Python 3.11.0 pickled them.
  const Write by_name = Call("builtins", "getattr",
                             Tuple({Global(kModule, "_MEM_FORMAT_ENCODING"),
                                    Str("TORCH_CHANNELS_LAST")}));
  const Metadata metadata = Parse(TensorFile({.memory_format = by_name}));
  CHECK(metadata.FindTensor("w")->properties.memory_format ==
        MemoryFormat::kChannelsLast);
}

TEST_CASE("values that make no sense are refused with the key", "[metadata]") {
  const int64_t big = int64_t{1} << 62;
  const auto [parts, why] = GENERATE_COPY(table<TensorParts, std::string>({
      {{.dtype = Int(1)}, "dtype is an int"},
      {{.dtype = Global("torch", "Size")}, "dtype is the global torch.Size"},
      {{.layout = Str("torch.strided")}, "layout is a str"},
      {{.memory_format = Int(0)}, "memory_format"},
      {{.memory_format =
            Call(kModule, "_MEM_FORMAT_ENCODING", Tuple({Int(3)}))},
       "memory_format"},
      {{.size = Str("2")}, "size is a str, not a sequence"},
      {{.size = Size({-1})}, "size [-1] is impossible"},
      {{.size = Size({big, 4})}, "is impossible"},
      {{.size = Size({big})}, "is impossible"},  // 4 bytes an element
      {{.size = Tuple({Str("2")})}, "size is a str, not an int"},
      {{.size = Call("torch", "Size", Tuple({}))}, "takes one argument"},
      {{.size = Call("lib", "Size", Tuple({}))}, "a call of lib.Size"},
      {{.size = Size(std::vector<int64_t>(65, 1))}, "65 dimensions"},
      {{.offsets = Size({0, 0})}, "another number of dimensions"},
      {{.sizes = Size({2, 1})}, "another number of dimensions"},
      {{.sizes = Size({3})}, "outside of size [2]"},
      {{.offsets = Size({1})}, "outside of size [2]"},
      {{.offsets = Size({-1}), .sizes = Size({1})}, "outside of size [2]"},
      {{.offsets = Size({-1}), .sizes = Size({0})}, "outside of size [2]"},
  }));
  const auto [code, message] = ErrorOf(TensorFile(parts));
  CHECK(code == absl::StatusCode::kDataLoss);
  CHECK_THAT(message, Contains("metadata of \"w\"") && Contains(why));
}

TEST_CASE("an empty chunk may lie outside of its tensor", "[metadata]") {
  CHECK(Parse(TensorFile({.offsets = Size({3}), .sizes = Size({0})}))
            .FindTensor("w") != nullptr);
}

TEST_CASE("what a newer torch may write is called unknown, not damaged",
          "[metadata]") {
  const auto [parts, why] = GENERATE(table<TensorParts, std::string>({
      {{.dtype = Global("torch", "float6_e3m2fn")}, "torch.float6_e3m2fn"},
      {{.dtype = Global("torch", "bcomplex32")}, "torch.bcomplex32"},
      {{.layout = Call("torch.serialization", "_get_layout",
                       Tuple({Str("torch.hyperbolic")}))},
       "torch.hyperbolic"},
  }));
  const auto [code, message] = ErrorOf(TensorFile(parts));
  CHECK(code == absl::StatusCode::kUnimplemented);
  CHECK_THAT(message, Contains(why));
}

TEST_CASE("the root must be torch's Metadata", "[metadata]") {
  CHECK_THAT(
      ErrorOf(PickleOf(PickleProtocol::k4, Object("lib", "Metadata", {})))
          .second,
      Contains("an object of lib.Metadata"));
  CHECK_THAT(ErrorOf(Bytes("\x80\x04}.")).second, Contains("is a dict"));
  CHECK_THAT(ErrorOf(File({})).second, Contains("is missing"));
}

TEST_CASE("keys that are there twice are refused", "[metadata]") {
  const Write bytes = Object(kModule, "BytesStorageMetadata", {});
  const Write twice = Dict({{Str("a"), bytes}, {Str("a"), bytes}});
  CHECK_THAT(ErrorOf(File({{"state_dict_metadata", twice}})).second,
             Contains("there twice"));
}

Write Index(const std::string& fqn, const Write& offset) {
  return Object(kModule, "MetadataIndex",
                {{"fqn", Str(fqn)}, {"index", kNoValue}, {"offset", offset}});
}
Write Info(int64_t offset, int64_t length) {
  return Object("torch.distributed.checkpoint.filesystem", "_StorageInfo",
                {{"relative_path", Str("f")},
                 {"offset", Int(offset)},
                 {"length", Int(length)}});
}

std::string StorageFile(std::vector<std::pair<Write, Write>> items) {
  return File(
      {// Before the entries: the order of attributes does not matter.
       {"storage_data", Dict(std::move(items))},
       {"state_dict_metadata",
        Dict({{Str("w"), Tensor({})},
              {Str("o"), Object(kModule, "BytesStorageMetadata", {})}})}});
}

TEST_CASE("storage_data is checked against the entries", "[metadata]") {
  const Metadata good =
      Parse(StorageFile({{Index("w", Size({0})), Info(0, 5)},
                         {Index("o", kNoValue), Info(5, 1)},
                         {Index("unknown", kNoValue), Info(6, 1)}}));
  CHECK(good.storage_data.size() == 3);
  const int64_t max = std::numeric_limits<int64_t>::max();
  const auto [items, why] =
      GENERATE_COPY(table<std::vector<std::pair<Write, Write>>, std::string>({
          {{{Index("w", kNoValue), Info(0, 5)}}, "no chunk offset"},
          {{{Index("o", Size({0})), Info(0, 5)}}, "no tensor"},
          {{{Index("w", Size({0, 0})), Info(0, 5)}}, "offset [0, 0]"},
          {{{Index("w", Size({0})), Info(-1, 5)}}, "offset -1"},
          {{{Index("w", Size({0})), Info(0, -5)}}, "length -5"},
          {{{Index("w", Size({0})), Info(1, max)}}, "impossible"},
          {{{Index("w", Size({0})), Info(0, 1)},
            {Index("w", Size({0})), Info(1, 1)}},
           "twice"},
          {{{Str("w"), Info(0, 1)}}, "a key of storage_data is a str"},
          {{{Index("w", Size({0})), Str("f")}}, "storage_data is a str"},
      }));
  const auto [code, message] = ErrorOf(StorageFile(items));
  CHECK(code == absl::StatusCode::kDataLoss);
  CHECK_THAT(message, Contains(why));
}

TEST_CASE("paths of every Python become one string", "[metadata]") {
  const auto [value, text] = GENERATE(table<Write, std::string>({
      {Str("s3://bucket/x"), "s3://bucket/x"},
      {Call("pathlib", "PosixPath", Tuple({Str("/"), Str("a"), Str("b")})),
       "/a/b"},
      {Call("pathlib", "PosixPath", Tuple({Str("a")})), "a"},
      {Call("pathlib", "PosixPath", Tuple({})), "."},
      {Call("pathlib._local", "PosixPath", Tuple({Str("/a/b")})), "/a/b"},
      {Call("pathlib", "PurePosixPath", Tuple({Str("a"), Str("b")})), "a/b"},
      {Call("pathlib", "WindowsPath", Tuple({Str("C:\\"), Str("a"), Str("b")})),
       "C:\\a\\b"},
      {Call("pathlib._local", "PureWindowsPath", Tuple({Str("C:\\a")})),
       "C:\\a"},
  }));
  const Metadata metadata =
      Parse(File({{"state_dict_metadata", Dict({})},
                  {"storage_meta", Object(kModule, "StorageMeta",
                                          {{"checkpoint_id", value}})}}));
  REQUIRE(metadata.storage_meta.has_value());
  CHECK(metadata.storage_meta->checkpoint_id == text);
}

TEST_CASE("foreign values are named and left out", "[metadata]") {
  const Write opaque = Object("lib", "Thing", {{"x", Int(1)}});
  const Metadata metadata = Parse(File(
      {{"state_dict_metadata", Dict({})},
       {"mcore_data", Dict({{Str("w"), opaque}})},
       {"planner_data", Dict({{Str("good"), Tuple({Str("a"), Int(1)})},
                              {Str("bad"), opaque},
                              {Int(3), Tuple({})}})},
       {"storage_meta",
        Object(kModule, "StorageMeta",
               {{"checkpoint_id", Call("upath", "UPath", Tuple({Str("x")}))},
                {"save_id", Str("id")},
                {"extra", opaque}})},
       {"version", Int(2)}}));
  CHECK(metadata.ignored_attributes ==
        std::vector<std::string>{"mcore_data", "planner_data",
                                 "storage_meta.checkpoint_id",
                                 "storage_meta.extra", "version"});
  REQUIRE(metadata.planner_data.has_value());
  CHECK(metadata.planner_data->size() == 1);
  CHECK(metadata.planner_data->at("good") ==
        ObjectPath{std::string("a"), int64_t{1}});
  CHECK(metadata.storage_meta->save_id == "id");
}

TEST_CASE("a planner's own planner_data is named and left out", "[metadata]") {
  const Metadata metadata =
      Parse(File({{"state_dict_metadata", Dict({})},
                  {"planner_data", Object("lib", "Plan", {})}}));
  CHECK_FALSE(metadata.planner_data.has_value());
  CHECK(metadata.ignored_attributes ==
        std::vector<std::string>{"planner_data"});
}

}  // namespace
}  // namespace dcp
