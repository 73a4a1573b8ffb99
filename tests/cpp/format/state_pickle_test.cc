// Nested state dicts to data.pkl and back to flat keys.

#include "format/state_pickle.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "dcp/checkpoint.h"
#include "format/flat_state.h"
#include "format/nested_state.h"
#include "format/object_item.h"
#include "format/pickle_builder.h"
#include "format/pickle_reader.h"
#include "format/tensor_pickle.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

PickleGraph Read(const std::string& pickle) {
  auto graph = ReadPickle(pickle, {.persistent_ids = PersistentIds::kAccept});
  INFO(Message(graph.status()));
  REQUIRE(graph.ok());
  return *std::move(graph);
}

std::string Object(const ObjectValue& value) {
  return EncodeObjectItem(value).value();
}

TEST_CASE("flat keys become a nested state dict, and flat again", "[format]") {
  const std::string list =
      Object({ObjectList{{{int64_t{1}}, {ObjectNone{}}, {2.5}}}});
  const std::string text = Object({std::string("\xc3\xbc")});
  const std::string bytes = Object({ObjectBytes{std::string("\0\xff", 2)}});
  const std::vector<StateLeaf> leaves = {
      {.fqn = "model.w",
       .value = TensorItemSpec{.dtype = DType::kBFloat16, .sizes = {2, 3}}},
      {.fqn = "optim.0.lr", .value = std::string_view(list)},
      {.fqn = "optim.0.t",
       .value = TensorItemSpec{.dtype = DType::kUInt16, .sizes = {}}},
      {.fqn = "name", .value = std::string_view(text)},
      {.fqn = "deep.4d",
       .value =
           TensorItemSpec{.dtype = DType::kFloat32, .sizes = {1, 2, 3, 4}}},
      {.fqn = "rng", .value = std::string_view(bytes)},
  };
  const std::vector<ObjectPath> paths = {{"model", "w"},
                                         {"optim", int64_t{0}, "lr"},
                                         {"optim", int64_t{0}, "t"},
                                         {"name"},
                                         {"deep", "4d"},
                                         {"rng"}};
  NestedState state;
  for (size_t i = 0; i < leaves.size(); ++i) {
    REQUIRE(state.Add(std::string(leaves[i].fqn), paths[i], i).ok());
  }
  const auto pickled = RenderStatePickle(state, leaves);
  REQUIRE(pickled.ok());
  REQUIRE(pickled->records.size() == 3);
  CHECK(pickled->records[0].nbytes == 12);
  CHECK(pickled->records[1].leaf == 2);

  const PickleGraph graph = Read(pickled->pickle);
  const auto flat = FlattenState(graph);
  REQUIRE(flat.ok());
  REQUIRE(flat->size() == leaves.size());
  for (size_t i = 0; i < leaves.size(); ++i) {
    const FlatLeaf& leaf = (*flat)[i];
    CHECK(leaf.fqn == leaves[i].fqn);
    CHECK(leaf.path == paths[i]);
    const auto* spec = std::get_if<TensorItemSpec>(&leaves[i].value);
    REQUIRE(IsTensorValue(graph, leaf.value) == (spec != nullptr));
    if (spec == nullptr) continue;
    const auto tensor =
        ParseTensorValue(graph, leaf.value, ExpandedTensors::kReject);
    REQUIRE(tensor.ok());
    CHECK(tensor->dtype == spec->dtype);
    CHECK(tensor->sizes == spec->sizes);
    CHECK(tensor->strides == ContiguousStrides(spec->sizes));
  }
}

TEST_CASE("lists are leaves unless a tensor or a dict is in them", "[format]") {
  PickleWriter out(PickleProtocol::k2, 64);
  const auto list = [&](auto fill) {
    out.Op(PickleOp::kEmptyList);
    out.Op(PickleOp::kMark);
    fill();
    out.Op(PickleOp::kAppends);
  };
  out.Op(PickleOp::kEmptyDict);
  out.Op(PickleOp::kMark);
  out.String("plain");
  list([&] {
    out.Int(1);
    list([&] { out.Int(2); });
  });
  out.Int(7);  // a key that is an int
  list([&] {
    out.Int(3);
    list([&] { out.Op(PickleOp::kEmptyDict); });
  });
  out.String("pair");
  out.Op(PickleOp::kEmptyDict);
  out.Int(4);
  out.Ops({PickleOp::kTuple2, PickleOp::kSetItems});
  const std::string pickle = std::move(out).Finish();
  const auto flat = FlattenState(Read(pickle));
  REQUIRE(flat.ok());
  std::vector<std::string> names;
  for (const FlatLeaf& leaf : *flat) names.push_back(leaf.fqn);
  // An empty dict vanishes; a tuple is never taken apart.
  CHECK(names == std::vector<std::string>{"plain", "7.0", "pair"});
}

TEST_CASE("two leaves with one flat key are refused", "[format]") {
  PickleWriter out(PickleProtocol::k2, 64);
  out.Ops({PickleOp::kEmptyDict, PickleOp::kMark});
  out.String("a.b");
  out.Int(1);
  out.String("a");
  out.Ops({PickleOp::kEmptyDict, PickleOp::kMark});
  out.String("b");
  out.Int(2);
  out.Ops({PickleOp::kSetItems, PickleOp::kSetItems});
  const std::string pickle = std::move(out).Finish();
  const Status twice = FlattenState(Read(pickle)).status();
  CHECK(twice.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(twice)),
             Contains("duplicated flatten key a.b"));
}

TEST_CASE("objects of foreign classes are copied by name", "[format]") {
  PickleWriter in(PickleProtocol::k2, 64);
  in.Global("my.module", "Thing");
  in.Ops({PickleOp::kEmptyTuple, PickleOp::kNewObj, PickleOp::kEmptyDict});
  in.String("x");
  in.Int(1);
  in.Ops({PickleOp::kSetItem, PickleOp::kBuild});
  const std::string item = EncodePickleItem(std::move(in).Finish(), {});
  NestedState state;
  REQUIRE(state.Add("thing", {"thing"}, 0).ok());
  const StateLeaf leaf{.fqn = "thing", .value = std::string_view(item)};
  const auto pickled = RenderStatePickle(state, {&leaf, 1});
  REQUIRE(pickled.ok());
  const PickleGraph graph = Read(pickled->pickle);
  const auto flat = FlattenState(graph);
  REQUIRE(flat.ok());
  const PickleId thing = flat->at(0).value;
  REQUIRE(graph.kind(thing) == PickleKind::kObject);
  CHECK(graph.GlobalName(graph.callable(thing)) == "my.module.Thing");
  CHECK(graph.items(graph.state(thing)).size() == 2);
}

TEST_CASE("values that an object shares stay shared", "[format]") {
  PickleWriter in(PickleProtocol::k2, 64);
  in.Op(PickleOp::kEmptyList);
  const PickleMemo memo = in.Memoize();
  in.Get(memo);
  in.Op(PickleOp::kTuple2);
  const std::string item = EncodePickleItem(std::move(in).Finish(), {});
  NestedState state;
  REQUIRE(state.Add("t", {"t"}, 0).ok());
  const StateLeaf leaf{.fqn = "t", .value = std::string_view(item)};
  const auto pickled = RenderStatePickle(state, {&leaf, 1});
  REQUIRE(pickled.ok());
  const PickleGraph graph = Read(pickled->pickle);
  const auto pair = graph.items(FlattenState(graph)->at(0).value);
  CHECK(pair[0] == pair[1]);
}

TEST_CASE("tensors that an object holds come with it", "[format]") {
  PickleWriter in(PickleProtocol::k2, 64);
  in.Global("torch._utils", "_rebuild_tensor_v2");
  in.Ops({PickleOp::kMark, PickleOp::kMark});
  in.String("storage");
  in.Global("torch", "CharStorage");
  in.String("0");
  in.String("cpu");
  in.Int(3);
  in.Ops({PickleOp::kTuple, PickleOp::kBinPersId});
  in.Int(0);
  in.Int(3);
  in.Op(PickleOp::kTuple1);
  in.Int(1);
  in.Op(PickleOp::kTuple1);
  in.Bool(false);
  in.None();
  in.Ops({PickleOp::kTuple, PickleOp::kReduce, PickleOp::kTuple1});
  const std::vector<std::string> storages = {"abc"};
  const std::string item = EncodePickleItem(std::move(in).Finish(), storages);
  NestedState state;
  REQUIRE(state.Add("w", {"w"}, 0).ok());
  REQUIRE(state.Add("pair", {"pair"}, 1).ok());
  const std::vector<StateLeaf> leaves = {
      {.fqn = "w", .value = TensorItemSpec{.sizes = {2}}},
      {.fqn = "pair", .value = std::string_view(item)}};
  const auto pickled = RenderStatePickle(state, leaves);
  REQUIRE(pickled.ok());
  REQUIRE(pickled->records.size() == 2);
  CHECK(pickled->records[1].bytes == "abc");
  const PickleGraph graph = Read(pickled->pickle);
  const auto pair = graph.items(FlattenState(graph)->at(1).value);
  const auto tensor =
      ParseTensorValue(graph, pair[0], ExpandedTensors::kReject);
  REQUIRE(tensor.ok());
  CHECK(tensor->storage_key == "1");
}

TEST_CASE("paths that fit no state dict are refused, or left at the top",
          "[format]") {
  NestedState state;
  REQUIRE(state.Add("a", {"a"}, 0).ok());
  REQUIRE(state.Add("a.b", {"a", "b"}, 1).ok());  // within the value "a"
  CHECK(state.dict().size() == 2);
  CHECK_FALSE(state.Add("a", {"a"}, 2).ok());
  REQUIRE(state.Add("far", {"l", int64_t{1} << 40}, 3).ok());  // top-level
  CHECK(state.dict().back().first == "far");
}

}  // namespace
}  // namespace dcp
