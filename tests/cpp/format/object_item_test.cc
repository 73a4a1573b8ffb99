#include "format/object_item.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "format/bytes.h"
#include "format/pickle_builder.h"
#include "format/torch_archive.h"
#include "format/torch_item_reader.h"
#include "format/zip_writer.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

ObjectValue RoundTrip(const ObjectValue& value) {
  const auto item = EncodeObjectItem(value);
  INFO(item.status());
  REQUIRE(item.ok());
  CHECK(VerifyItemCrcs(AsBytes(*item)).ok());
  auto decoded = DecodeObjectItem(*item);
  INFO(decoded.status());
  REQUIRE(decoded.ok());
  return *std::move(decoded);
}

/// An archive around the pickle of `value`.
std::string ItemOf(const Write& value) {
  const std::string pickle = PickleOf(PickleProtocol::k2, value);
  std::array<ZipRecord, kArchiveHeadCount + kArchiveTailCount> records;
  const auto tail = std::span(records).subspan<kArchiveHeadCount>();
  FillHead(pickle, records);
  FillTail(tail);
  const ZipLayout layout = LayoutZip(records, 0);
  std::string item(static_cast<size_t>(layout.nbytes), '\0');
  const ZipWindow window{.bytes = std::as_writable_bytes(std::span(item))};
  PutHead(records, pickle, window);
  PutTail(SerializationId(1, 2), tail, window);
  PutZipDirectory(records, layout, window);
  return item;
}

TEST_CASE("objects of every kind come back as written", "[object]") {
  const std::string every_byte = [] {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    return bytes;
  }();
  const ObjectValue value{ObjectDict{{
      {"none", {ObjectNone{}}},
      {"yes", {true}},
      {"no", {false}},
      {"int", {int64_t{-70000}}},
      {"min", {std::numeric_limits<int64_t>::min()}},
      {"float", {0.1}},
      {"inf", {-std::numeric_limits<double>::infinity()}},
      {"str", {std::string("\u2603 text")}},
      {"empty", {std::string()}},
      {"bytes", {ObjectBytes{every_byte}}},
      {"no bytes", {ObjectBytes{}}},
      {"list", {ObjectList{{{int64_t{1}}, {ObjectList{}}}}}},
      {"tuple",
       {ObjectTuple{
           {{int64_t{1}}, {std::string("a")}, {true}, {ObjectTuple{}}}}}},
      {"dict", {ObjectDict{{{"z", {int64_t{1}}}, {"a", {ObjectDict{}}}}}}},
  }}};
  CHECK(RoundTrip(value) == value);
  CHECK(*EncodeObjectItem(value) == *EncodeObjectItem(value));
}

TEST_CASE("not-a-number stays one", "[object]") {
  const ObjectValue value =
      RoundTrip({std::numeric_limits<double>::quiet_NaN()});
  CHECK(std::isnan(std::get<double>(value.value)));
}

TEST_CASE("long containers and strings come back as written", "[object]") {
  ObjectList list;
  ObjectDict dict;
  list.items.resize(3001);
  dict.items.resize(3001);
  for (size_t i = 0; i < 3001; ++i) {
    list.items[i].value = static_cast<int64_t>(i);
    dict.items[i].key = "key" + std::to_string(i);
    dict.items[i].value.value = static_cast<int64_t>(i);
  }
  const ObjectValue value{
      ObjectTuple{{{list},
                   {dict},
                   {std::string(3 << 20, 'x')},
                   {ObjectBytes{std::string(3 << 20, '\xff')}}}}};
  CHECK(RoundTrip(value) == value);
}

TEST_CASE("a dict is searched by key", "[object]") {
  const ObjectDict dict{{{"a", {int64_t{1}}}, {"b", {int64_t{2}}}}};
  REQUIRE(dict.Find("b") != nullptr);
  CHECK(*dict.Find("b") == ObjectValue{int64_t{2}});
  CHECK(dict.Find("c") == nullptr);
}

ObjectValue Nested(int depth) {
  ObjectValue value{int64_t{1}};
  for (int i = 0; i < depth; ++i) value = {ObjectList{{value}}};
  return value;
}

TEST_CASE("values that could not be read back are not written", "[object]") {
  CHECK(RoundTrip(Nested(kMaxObjectDepth)) == Nested(kMaxObjectDepth));
  for (const ObjectValue& value :
       {Nested(kMaxObjectDepth + 1), ObjectValue{std::string("\xff")},
        ObjectValue{ObjectDict{{{"\xff", {true}}}}},
        ObjectValue{ObjectDict{{{"a", {true}}, {"a", {true}}}}}}) {
    CHECK(EncodeObjectItem(value).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("calls that stand for plain values are understood", "[object]") {
  CHECK(*DecodeObjectItem(ItemOf(Size({2, 3}))) ==
        ObjectValue{ObjectTuple{{{int64_t{2}}, {int64_t{3}}}}});
  CHECK(*DecodeObjectItem(
            ItemOf(Call("collections", "OrderedDict", Tuple({})))) ==
        ObjectValue{ObjectDict{}});
  CHECK(*DecodeObjectItem(ItemOf(Call("__builtin__", "bytes", Tuple({})))) ==
        ObjectValue{ObjectBytes{}});
}

TEST_CASE("what C++ cannot hold is called so, by name", "[object]") {
  const auto [value, why] = GENERATE(table<Write, std::string>({
      {Object("lib", "Thing", {}), "an object of lib.Thing"},
      {Call("lib", "f", Tuple({})), "a call of lib.f"},
      {Global("torch", "float32"), "the global torch.float32"},
      {Dict({{Int(1), Int(2)}}), "a key that is an int"},
      {Call("_codecs", "encode", Tuple({Str("\u0100"), Str("latin1")})),
       "a call of _codecs.encode"},
      {Call("_codecs", "encode", Tuple({Str("a"), Str("utf-7")})),
       "a call of _codecs.encode"},
      {[](PickleWriter* out) {
         Tuple({})(out);
         out->Op(PickleOp::kBinPersId);
       },
       "a persistent id"},
  }));
  const auto decoded = DecodeObjectItem(ItemOf(value));
  CHECK(decoded.status().code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(Message(decoded.status())), Contains(why));
}

TEST_CASE("a small item that describes a huge tree is refused", "[object]") {
  // Nine levels of "ten times the level below": 10^9 values.
  const Write laughs = [](PickleWriter* out) {
    PickleMemo below = kNoPickleMemo;
    out->Op(PickleOp::kMark);
    for (int level = 0; level < 9; ++level) {
      out->Op(PickleOp::kMark);
      for (int i = 0; i < 10; ++i) {
        below == kNoPickleMemo ? out->String("ha") : out->Get(below);
      }
      out->Op(PickleOp::kTuple);
      below = out->Memoize();
    }
    out->Op(PickleOp::kTuple);
  };
  const auto decoded = DecodeObjectItem(ItemOf(laughs));
  CHECK(decoded.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(decoded.status())), Contains("share"));
  // The same with one long string.
  const Write copies = [](PickleWriter* out) {
    out->Op(PickleOp::kMark);
    out->String(std::string(1 << 20, 'x'));
    const PickleMemo text = out->Memoize();
    for (int i = 0; i < 100000; ++i) out->Get(text);
    out->Op(PickleOp::kTuple);
  };
  CHECK_THAT(std::string(Message(DecodeObjectItem(ItemOf(copies)).status())),
             Contains("share"));
}

TEST_CASE("a list that contains itself is refused", "[object]") {
  const Write loop = [](PickleWriter* out) {
    out->Op(PickleOp::kEmptyList);
    out->Get(out->Memoize());
    out->Op(PickleOp::kAppend);
  };
  CHECK(DecodeObjectItem(ItemOf(loop)).status().code() ==
        absl::StatusCode::kDataLoss);
}

TEST_CASE("every truncation of an object item is refused", "[object]") {
  const auto item = EncodeObjectItem({ObjectList{{{int64_t{1}}}}});
  REQUIRE(item.ok());
  for (size_t n = 0; n < item->size(); ++n) {
    REQUIRE(DecodeObjectItem(item->substr(0, n)).status().code() ==
            absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace dcp
