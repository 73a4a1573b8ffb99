#include "format/pickle_writer.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <utility>

#include "format/bytes.h"
#include "format/pickle_reader.h"

namespace dcp {
namespace {

template <typename Write>
std::string Pickle(PickleProtocol protocol, Write write) {
  PickleWriter out(protocol, 0);
  write(&out);
  return std::move(out).Finish();
}

TEST_CASE("integers take the opcodes that CPython chooses", "[pickle]") {
  const auto [value, encoded] = GENERATE(table<int64_t, std::string>({
      {0, Bytes("K\x00")},
      {255, Bytes("K\xff")},
      {256, Bytes("M\x00\x01")},
      {65535, Bytes("M\xff\xff")},
      {65536, Bytes("J\x00\x00\x01\x00")},
      {-1, Bytes("J\xff\xff\xff\xff")},
      {2147483647, Bytes("J\xff\xff\xff\x7f")},
      {2147483648, Bytes("\x8a\x05\x00\x00\x00\x80\x00")},
      {-2147483649, Bytes("\x8a\x05\xff\xff\xff\x7f\xff")},
      {int64_t{1} << 40, Bytes("\x8a\x06\0\0\0\0\0\x01")},
      {std::numeric_limits<int64_t>::max(),
       Bytes("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f")},
      {std::numeric_limits<int64_t>::min(),
       Bytes("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80")},
  }));
  const std::string pickle =
      Pickle(PickleProtocol::k2, [v = value](auto* out) { out->Int(v); });
  CHECK(pickle == Bytes("\x80\x02") + encoded + ".");
  const auto graph = ReadPickle(pickle);
  REQUIRE(graph.ok());
  CHECK((*graph)[graph->root()].integer == value);
}

TEST_CASE("strings, globals and memos follow the protocol", "[pickle]") {
  const auto write = [](PickleWriter* out) {
    out->Op(PickleOp::kMark);
    out->Global("torch", "Size");
    const PickleMemo memo = out->Memoize();
    out->String("text");
    out->Get(memo);
    out->Float(1.5);
    out->Bool(true);
    out->None();
    out->Tuple(6);
  };
  CHECK(Pickle(PickleProtocol::k2, write) ==
        Bytes("\x80\x02(ctorch\nSize\nq\0X\4\0\0\0texth\0G\x3f\xf8\0\0\0\0\0\0"
              "\x88Nt."));
  CHECK(Pickle(PickleProtocol::k4, write) ==
        Bytes("\x80\x04\x95\x25\0\0\0\0\0\0\0(\x8c\5torch\x8c\4Size\x93\x94"
              "\x8c\4texth\0G\x3f\xf8\0\0\0\0\0\0\x88Nt."));
}

TEST_CASE("long strings and many memos are read back", "[pickle]") {
  for (PickleProtocol protocol : {PickleProtocol::k2, PickleProtocol::k4}) {
    const std::string pickle = Pickle(protocol, [](PickleWriter* out) {
      out->Op(PickleOp::kMark);
      for (int i = 0; i < 300; ++i) {
        out->String(std::string(300, 'a') + std::to_string(i));
        out->Memoize();
      }
      out->Get(299);
      out->Get(7);
      out->Tuple(302);
    });
    const auto graph = ReadPickle(pickle);
    REQUIRE(graph.ok());
    const auto items = graph->items(graph->root());
    REQUIRE(items.size() == 302);
    CHECK(items[300] == items[299]);
    CHECK(items[301] == items[7]);
    CHECK(graph->text(items[299]).ends_with("a299"));
  }
}

TEST_CASE("opcodes that were written once can be repeated as bytes",
          "[pickle]") {
  std::string repeated;
  const std::string pickle = Pickle(PickleProtocol::k4, [&](PickleWriter* out) {
    out->String("a");
    const PickleMemo memo = out->Memoize();
    CHECK(out->memo_size() == memo + 1);
    const size_t begin = out->size();
    out->Get(memo);
    out->Int(7);
    out->Op(PickleOp::kTuple2);
    repeated = out->Since(begin);
    out->Raw(repeated);
    out->Op(PickleOp::kTuple3);
  });
  CHECK(repeated == Bytes("h\0K\7\x86"));
  const auto graph = ReadPickle(pickle);
  REQUIRE(graph.ok());
  CHECK(graph->items(graph->root()).size() == 3);
}

TEST_CASE("frames are cut at 64 KiB and cover everything", "[pickle]") {
  const std::string pickle = Pickle(PickleProtocol::k4, [](PickleWriter* out) {
    out->Op(PickleOp::kEmptyList);
    for (int i = 0; i < 3000; ++i) {
      out->Boundary();
      out->String(std::string(100, 'x'));
      out->Op(PickleOp::kAppend);
    }
  });
  size_t frames = 0;
  size_t position = 2;
  while (position < pickle.size()) {
    REQUIRE(pickle[position] == static_cast<char>(PickleOp::kFrame));
    uint64_t nbytes = 0;
    std::memcpy(&nbytes, pickle.data() + position + 1, sizeof(nbytes));
    position += 9 + nbytes;
    ++frames;
  }
  CHECK(position == pickle.size());
  CHECK(frames == 5);
  CHECK(ReadPickle(pickle).ok());
}

}  // namespace
}  // namespace dcp
