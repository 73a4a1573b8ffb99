#include "format/pickle_reader.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

#include "format/bytes.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

/// Expects success and keeps the bytes that the graph refers to.
struct Parsed {
  explicit Parsed(std::string pickle, const PickleOptions& options = {})
      : data(std::move(pickle)), result(ReadPickle(data, options)) {
    INFO(result.status());
    REQUIRE(result.ok());
  }
  const PickleGraph& graph() const { return *result; }
  const PickleNode& root() const { return graph()[graph().root()]; }

  std::string data;
  StatusOr<PickleGraph> result;
};

std::string ErrorOf(const std::string& pickle,
                    const PickleOptions& options = {}) {
  const StatusOr<PickleGraph> result = ReadPickle(pickle, options);
  REQUIRE_FALSE(result.ok());
  CHECK(result.status().code() == absl::StatusCode::kDataLoss);
  return std::string(Message(result.status()));
}

TEST_CASE("integers of every opcode have their value", "[pickle]") {
  const auto [pickle, value] = GENERATE(table<std::string, int64_t>({
      {Bytes("\x80\x04K\xff."), 255},
      {Bytes("\x80\x04M\x00\x01."), 256},
      {Bytes("\x80\x04J\xff\xff\xff\xff."), -1},
      {Bytes("\x80\x04J\x00\x00\x00\x80."), -2147483648LL},
      {Bytes("\x80\x02\x8a\x00."), 0},
      {Bytes("\x80\x02\x8a\x01\xff."), -1},
      {Bytes("\x80\x02\x8a\x02\x00\x80."), -32768},
      {Bytes("\x80\x02\x8a\x05\x00\x00\x00\x00\x01."), int64_t{1} << 32},
      {Bytes("\x80\x02\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80."),
       std::numeric_limits<int64_t>::min()},
  }));
  const Parsed parsed(pickle);
  CHECK(parsed.root().kind == PickleKind::kInt);
  CHECK(parsed.root().integer == value);
}

TEST_CASE("an int beyond 64 bits is known to be one", "[pickle]") {
  const Parsed parsed(
      Bytes("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00."));
  CHECK(parsed.root().kind == PickleKind::kBigInt);
}

TEST_CASE("scalars come back as written", "[pickle]") {
  CHECK(Parsed(Bytes("\x80\x02N.")).root().kind == PickleKind::kNone);
  CHECK(Parsed(Bytes("\x80\x02\x88.")).root().integer == 1);
  CHECK(Parsed(Bytes("\x80\x02\x89.")).root().integer == 0);
  const Parsed real(Bytes("\x80\x02G\x3f\xf8\0\0\0\0\0\0."));
  CHECK(real.root().kind == PickleKind::kFloat);
  CHECK(real.root().real == 1.5);
  const Parsed text(Bytes("\x80\x04\x8c\x02hi."));
  CHECK(text.root().kind == PickleKind::kString);
  CHECK(text.graph().text(text.graph().root()) == "hi");
  const Parsed bytes(Bytes("\x80\x04\x43\x02\xff\x00."));
  CHECK(bytes.root().kind == PickleKind::kBytes);
  CHECK(bytes.graph().text(bytes.graph().root()) == Bytes("\xff\x00"));
}

TEST_CASE("containers keep their elements in order", "[pickle]") {
  // [(1, 2), {"a": None}]
  const Parsed parsed(Bytes("\x80\x04](K\x01K\x02\x86}\x8c\x01\x61Nse."));
  const PickleGraph& graph = parsed.graph();
  REQUIRE(parsed.root().kind == PickleKind::kList);
  const auto items = graph.items(graph.root());
  REQUIRE(items.size() == 2);
  REQUIRE(graph.items(items[0]).size() == 2);
  CHECK(graph[graph.items(items[0])[1]].integer == 2);
  REQUIRE(graph.kind(items[1]) == PickleKind::kDict);
  CHECK(graph.text(graph.items(items[1])[0]) == "a");
}

TEST_CASE("a list that grows in several batches keeps all elements",
          "[pickle]") {
  // CPython appends 1000 elements a batch; here nested lists come in between.
  std::string pickle = Bytes("\x80\x04]");
  for (int batch = 0; batch < 5; ++batch) {
    pickle += '(';
    for (char i = 0; i < 100; ++i) {
      pickle += Bytes("](K") + static_cast<char>(batch) + "K" + i + "e";
    }
    pickle += 'e';
  }
  const Parsed parsed(pickle + ".");
  const auto items = parsed.graph().items(parsed.graph().root());
  REQUIRE(items.size() == 500);
  for (size_t i = 0; i < 500; ++i) {
    const auto pair = parsed.graph().items(items[i]);
    REQUIRE(pair.size() == 2);
    CHECK(parsed.graph()[pair[0]].integer == static_cast<int64_t>(i / 100));
    CHECK(parsed.graph()[pair[1]].integer == static_cast<int64_t>(i % 100));
  }
}

TEST_CASE("objects and calls stay symbolic", "[pickle]") {
  // torch.Size((2,)), by GLOBAL and REDUCE.
  const Parsed call(Bytes("\x80\x02\x63torch\nSize\nK\x02\x85\x85R."));
  CHECK(call.graph().Is(call.graph().root(), PickleKind::kReduce,
                        PickleGlobal::kSize));
  // An instance of a class that nobody knows, with a state.
  const Parsed object(Bytes("\x80\x04\x8c\x03lib\x8c\x03\x43ls\x93)\x81}b."));
  const PickleGraph& graph = object.graph();
  CHECK(graph.Is(graph.root(), PickleKind::kObject, PickleGlobal::kForeign));
  CHECK(graph.GlobalName(graph.callable(graph.root())) == "lib.Cls");
  CHECK(graph.kind(graph.state(graph.root())) == PickleKind::kDict);
  CHECK(DescribePickle(graph, graph.root()) == "an object of lib.Cls");
}

TEST_CASE("what goes into an opaque container is dropped with it", "[pickle]") {
  CHECK(Parsed(Bytes("\x80\x02\x63lib\nDict\n)R(K\x01K\x02u.")).root().kind ==
        PickleKind::kReduce);
  CHECK(Parsed(Bytes("\x80\x02\x63lib\nList\n)\x81(K\x01\x65.")).root().kind ==
        PickleKind::kObject);
  CHECK(Parsed(Bytes("\x80\x04\x8f(K\x01\x90.")).root().kind ==
        PickleKind::kSet);
  CHECK(Parsed(Bytes("\x80\x04(K\x01\x91.")).root().kind == PickleKind::kSet);
}

TEST_CASE("an OrderedDict is a dict, its attributes are dropped", "[pickle]") {
  const Parsed parsed(Bytes(
      "\x80\x02\x63\x63ollections\nOrderedDict\n)RX\x01\0\0\0aK\x07s}b."));
  REQUIRE(parsed.root().kind == PickleKind::kDict);
  CHECK(parsed.graph().items(parsed.graph().root()).size() == 2);
}

TEST_CASE("the memo gives back what was put", "[pickle]") {
  const Parsed by_memoize(Bytes("\x80\x04(\x8c\x01x\x94h\0t."));
  const auto items = by_memoize.graph().items(by_memoize.graph().root());
  CHECK(items[0] == items[1]);
  const Parsed by_put(Bytes("\x80\x02(X\x01\0\0\0xq\0h\0j\0\0\0\0t."));
  CHECK(by_put.graph().items(by_put.graph().root()).size() == 3);
}

TEST_CASE("opcodes that writers do not use are refused by name", "[pickle]") {
  const auto [pickle, name] = GENERATE(table<std::string, std::string>({
      {Bytes("\x80\x02I1\n."), "INT"},
      {Bytes("\x80\x02L1L\n."), "LONG"},
      {Bytes("\x80\x02\x46\x31\n."), "FLOAT"},
      {Bytes("\x80\x02S'a'\n."), "STRING"},
      {Bytes("\x80\x02Va\n."), "UNICODE"},
      {Bytes("\x80\x02U\x01\x61."), "SHORT_BINSTRING"},
      {Bytes("\x80\x02T\x01\0\0\0a."), "BINSTRING"},
      {Bytes("\x80\x02\x8b\x01\0\0\0\x01."), "LONG4"},
      {Bytes("\x80\x02(ios\nsystem\n."), "INST"},
      {Bytes("\x80\x02(o."), "OBJ"},
      {Bytes("\x80\x02N0."), "POP"},
      {Bytes("\x80\x02(1."), "POP_MARK"},
      {Bytes("\x80\x02N2."), "DUP"},
      {Bytes("\x80\x02(d."), "DICT"},
      {Bytes("\x80\x02(l."), "LIST"},
      {Bytes("\x80\x02p0\n."), "PUT"},
      {Bytes("\x80\x02g0\n."), "GET"},
      {Bytes("\x80\x02Pid\n."), "PERSID"},
      {Bytes("\x80\x02NQ."), "BINPERSID"},
      {Bytes("\x80\x02\x82\x01."), "EXT1"},
      {Bytes("\x80\x02\x83\x01\0."), "EXT2"},
      {Bytes("\x80\x02\x84\x01\0\0\0."), "EXT4"},
      {Bytes("\x80\x04\x92."), "NEWOBJ_EX"},
      {Bytes("\x80\x05\x96\0\0\0\0\0\0\0\0."), "BYTEARRAY8"},
      {Bytes("\x80\x05\x97."), "NEXT_BUFFER"},
      {Bytes("\x80\x05\x98."), "READONLY_BUFFER"},
      {Bytes("\x80\x05\xff."), "opcode 0xff"},
  }));
  CHECK_THAT(ErrorOf(pickle), Contains(name) && Contains("not allowed"));
}

TEST_CASE("an error names the opcode and its byte", "[pickle]") {
  CHECK(ErrorOf(Bytes("\x80\x04NK\x01\x86\x85R.")) ==
        "pickle: REDUCE at byte 7: the stack is too short");
}

TEST_CASE("structural damage is refused", "[pickle]") {
  const auto [pickle, why] = GENERATE(table<std::string, std::string>({
      {"", "does not begin with PROTO"},
      {"N.", "does not begin with PROTO"},
      {Bytes("\x80\x01N."), "protocol 1"},
      {Bytes("\x80\x06N."), "protocol 6"},
      {Bytes("\x80\x02N\x80\x02."), "at byte 0 only"},
      {Bytes("\x80\x02N"), "without STOP"},
      {Bytes("\x80\x02."), "0 values on the stack"},
      {Bytes("\x80\x02NN."), "2 values on the stack"},
      {Bytes("\x80\x02(N."), "values on the stack"},
      {Bytes("\x80\x02N.."), "1 bytes follow"},
      {Bytes("\x80\x02Nt."), "no MARK"},
      {Bytes("\x80\x02N(\x85."), "too short"},
      {Bytes("\x80\x02(\x65."), "no list"},
      {Bytes("\x80\x02(u."), "no dict"},
      {Bytes("\x80\x02N(K\x01\x65."), "the target is None"},
      {Bytes("\x80\x02](NNu."), "the target is a list"},
      {Bytes("\x80\x02}(N\x65."), "the target is a dict"},
      {Bytes("\x80\x02}(Nu."), "a key has no value"},
      {Bytes("\x80\x02}]Ns."), "cannot be a key"},
      {Bytes("\x80\x02}K\0}\x85\x86Ns."), "cannot be a key"},
      {Bytes("\x80\x02\x63lib\n\n."), "two short strings"},
      {Bytes("\x80\x02NN\x62."), "can be given a state"},
      {Bytes("\x80\x02}}\x62."), "can be given a state"},
      {Bytes("\x80\x02N)R."), "callable is not a global"},
      {Bytes("\x80\x02\x63lib\nf\nNR."), "arguments are not a tuple"},
      {Bytes("\x80\x02\x63lib\nf\n)\x81}b}b."), "has a state already"},
      {Bytes("\x80\x02h\0."), "no such index"},
      {Bytes("\x80\x02Nq\x01."), "out of turn"},
      {Bytes("\x80\x02\x94."), "too short"},
      {Bytes("\x80\x04K\x01K\x02\x93."), "two short strings"},
      {Bytes("\x80\x02\x63lib"), "name does not end"},
      {Bytes("\x80\x02X\xff\xff\xff\xff."), "truncated"},
      {Bytes("\x80\x02X\x01\0\0\0\xff."), "not UTF-8"},
      {Bytes("\x80\x02\x8a\x09\x01."), "truncated"},
      {Bytes("\x80\x02K"), "truncated"},
      {Bytes("\x80\x04\x95\xff\0\0\0\0\0\0\0N."), "frame ends after"},
      {Bytes("\x80\x04\x63torch\nfloat32\n)R."), "not a function or class"},
      {Bytes("\x80\x04\x63torch\nSize\n)R}b."), "only an object"},
      {Bytes("\x80\x04\x63m\nC\n)\x81}\x94\x62h\0NNs."), "in use already"},
      {Bytes("\x80\x04\x63torch\nSize\n]\x94\x85Rh\0Na."), "in use already"},
      {Bytes("\x80\x04\x95\2\0\0\0\0\0\0\0\x8c\1x."), "end of its frame"},
      {Bytes("\x80\x04\x95\1\0\0\0\0\0\0\0K\1."), "end of its frame"},
      {Bytes("\x80\x04\x95\x0b\0\0\0\0\0\0\0N\x95\0\0\0\0\0\0\0\0."),
       "has not ended"},
  }));
  CHECK_THAT(ErrorOf(pickle), Contains(why));
}

TEST_CASE("names that only an attack uses are refused", "[pickle]") {
  const std::string global = GENERATE(
      "os\nsystem", "posix\nsystem", "nt\nsystem", "subprocess\nPopen",
      "builtins\neval", "builtins\nexec", "__builtin__\neval",
      "builtins\n__import__", "runpy\n_run_code", "importlib\nimport_module",
      "pickle\nloads", "_pickle\nloads", "socket\nsocket", "shutil\nrmtree",
      "sys\nexit", "ctypes\nCDLL", "os.path\njoin", "_io\nopen");
  CHECK_THAT(ErrorOf(Bytes("\x80\x02\x63") + global + "\n."),
             Contains("no place in a checkpoint"));
}

TEST_CASE("a call in front of a valid pickle cannot hide", "[pickle]") {
  // The stealth prefix: run something, drop the result, go on.
  CHECK_THAT(ErrorOf(Bytes("\x80\x02\x63lib\nrun\n)R0N.")), Contains("POP"));
  CHECK_THAT(ErrorOf(Bytes("\x80\x02N.\x80\x02N.")), Contains("bytes follow"));
}

TEST_CASE("limits hold", "[pickle]") {
  const std::string proto = Bytes("\x80\x04");
  const std::string marks(1001, '(');
  CHECK_THAT(ErrorOf(proto + marks + "."), Contains("too many MARKs"));
  std::string nested = proto + ")";
  for (int i = 0; i < 64; ++i) nested += '\x85';
  CHECK_THAT(ErrorOf(nested + "."), Contains("nested too deeply"));
  nested.pop_back();
  CHECK(ReadPickle(nested + ".").ok());
  CHECK_THAT(ErrorOf(proto + "N.", {.max_nbytes = 3}), Contains("more than"));
  CHECK_THAT(ErrorOf(proto + Bytes("\x8c\x03xyz."), {.max_string_nbytes = 2}),
             Contains("too long"));
  CHECK_THAT(ErrorOf(proto + "(NNNN.", {.max_stack = 3}), Contains("too high"));
}

TEST_CASE("a list in itself neither hangs nor overflows", "[pickle]") {
  const Parsed parsed(Bytes("\x80\x04]\x94h\0a."));
  const auto items = parsed.graph().items(parsed.graph().root());
  REQUIRE(items.size() == 1);
  CHECK(items[0] == parsed.graph().root());
}

TEST_CASE("no bomb takes more memory than its size allows", "[pickle][bomb]") {
  const std::string proto = Bytes("\x80\x04");
  const size_t mebi = size_t{1} << 20;
  // 9 bytes that make CPython allocate 2 GiB: a sparse memo.
  CHECK_THAT(ErrorOf(Bytes("\x80\x02Nr\0\0\0\x08.")), Contains("out of turn"));
  CHECK_THAT(ErrorOf(Bytes("\x80\x04\x8e\0\0\0\0\0\1\0\0.")),
             Contains("truncated"));
  CHECK_THAT(ErrorOf(Bytes("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.")),
             Contains("truncated"));
  CHECK_THAT(ErrorOf(proto + std::string(8 * mebi, '(')), Contains("MARK"));
  CHECK_THAT(ErrorOf(proto + std::string(8 * mebi, 'N')), Contains("too high"));
  CHECK_THAT(ErrorOf(proto + ")" + std::string(mebi, '\x85')),
             Contains("nested"));
  // A node for every byte: 16 times the size.
  std::string lists = proto;
  for (size_t i = 0; i < 4 * mebi; ++i) lists += "]\x94";
  CHECK_THAT(ErrorOf(lists), Contains("too high") || Contains("memory"));
  std::string shared = proto + "](";
  for (size_t i = 0; i < 3 * mebi; ++i) shared += (i % 1000 == 0) ? "e(" : "]";
  CHECK_THAT(ErrorOf(shared), Contains("too much memory"));
}

}  // namespace
}  // namespace dcp
