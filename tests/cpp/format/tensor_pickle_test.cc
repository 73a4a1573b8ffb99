#include "format/tensor_pickle.h"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

#include "format/pickle_builder.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

Write Ints(const std::vector<int64_t>& values) {
  std::vector<Write> items;
  items.reserve(values.size());
  for (int64_t value : values) items.push_back(Int(value));
  return Tuple(items);
}

Write Storage(const Write& type, const Write& count) {
  return [=](PickleWriter* out) {
    Tuple({Str("storage"), type, Str("7"), Str("cuda:0"), count})(out);
    out->Op(PickleOp::kBinPersId);
  };
}

Write NoHooks() { return Call("collections", "OrderedDict", Tuple({})); }

/// The arguments of a rebuild function that a test may replace.
struct Parts {
  std::string function = "_rebuild_tensor_v2";
  Write storage = Storage(Global("torch", "FloatStorage"), Int(6));
  Write storage_offset = Int(0);
  Write sizes = Ints({2, 3});
  Write strides = Ints({3, 1});
  std::vector<Write> rest = {kNo, NoHooks()};
};

Write Tensor(const Parts& parts) {
  std::vector<Write> arguments = {parts.storage, parts.storage_offset,
                                  parts.sizes, parts.strides};
  arguments.insert(arguments.end(), parts.rest.begin(), parts.rest.end());
  return Call("torch._utils", parts.function, Tuple(arguments));
}

StatusOr<TensorPickle> Parse(const Write& value) {
  return ParseTensorPickle(PickleOf(PickleProtocol::k2, value));
}

TensorPickle ParseOk(const Write& value) {
  auto tensor = Parse(value);
  INFO(tensor.status());
  REQUIRE(tensor.ok());
  return *tensor;
}

TEST_CASE("a rendered data.pkl says what it was made from", "[item]") {
  for (const DTypeInfo& info : AllDTypes()) {
    if (info.kind == DTypeKind::kQuantized) continue;
    for (const Dims& sizes :
         {Dims{}, Dims{0}, Dims{5}, Dims{2, 0, 3}, Dims{1, 2, 3, 4, 5, 6},
          Dims{70000, 300}, Dims{int64_t{1} << 33, 4}}) {
      const auto tensor = ParseTensorPickle(
          RenderTensorPickle({.dtype = info.dtype, .sizes = sizes}));
      REQUIRE(tensor.ok());
      CHECK(tensor->dtype == info.dtype);
      CHECK(tensor->sizes == sizes);
      CHECK(tensor->strides == ContiguousStrides(sizes));
      CHECK(tensor->storage_nbytes == Numel(sizes) * info.itemsize);
      CHECK(tensor->storage_key == "0");
    }
  }
}

TEST_CASE("every rebuild function of plain tensors is understood", "[item]") {
  const Parts parts =
      GENERATE(Parts{.function = "_rebuild_tensor", .rest = {}}, Parts{},
               Parts{.rest = {kNo, NoHooks(), kNoValue}},
               Parts{.function = "_rebuild_tensor_v3",
                     .storage = Storage(
                         Global("torch.storage", "UntypedStorage"), Int(24)),
                     .rest = {kNo, NoHooks(), Global("torch", "float32")}});
  const TensorPickle tensor = ParseOk(Tensor(parts));
  REQUIRE_FALSE(tensor.needs_torch);
  CHECK(tensor.dtype == DType::kFloat32);
  CHECK(tensor.sizes == Dims{2, 3});
  CHECK(tensor.storage_nbytes == 24);
  CHECK(tensor.storage_key == "7");
}

TEST_CASE("a Parameter is the tensor in it", "[item]") {
  CHECK(ParseOk(Call("torch._utils", "_rebuild_parameter",
                     Tuple({Tensor({}), kNo, NoHooks()})))
            .sizes == Dims{2, 3});
  CHECK(ParseOk(Call("torch._utils", "_rebuild_parameter_with_state",
                     Tuple({Tensor({}), kNo, NoHooks(), Dict({})})))
            .sizes == Dims{2, 3});
}

TEST_CASE("conjugated and negated views are marked", "[item]") {
  const Write yes = [](PickleWriter* out) { out->Bool(true); };
  const TensorPickle tensor = ParseOk(Tensor(
      {.storage = Storage(Global("torch", "ComplexFloatStorage"), Int(6)),
       .rest = {kNo, NoHooks(),
                Dict({{Str("conj"), yes}, {Str("neg"), yes}})}}));
  CHECK(tensor.conj);
  CHECK(tensor.neg);
}

TEST_CASE("strided views within their storage are accepted", "[item]") {
  const Parts parts =
      GENERATE(Parts{.strides = Ints({1, 2})},
               Parts{.storage_offset = Int(2),
                     .sizes = Ints({2, 2}),
                     .strides = Ints({2, 1})},
               Parts{.sizes = Ints({3}), .strides = Ints({0})},
               Parts{.sizes = Ints({0, 5}), .strides = Ints({100, 100})},
               Parts{.sizes = Ints({}), .strides = Ints({})});
  CHECK_FALSE(ParseOk(Tensor(parts)).needs_torch);
}

TEST_CASE("a tensor that reaches out of its storage is refused", "[item]") {
  const int64_t max = std::numeric_limits<int64_t>::max();
  const Parts parts = GENERATE_COPY(
      Parts{.sizes = Ints({3, 3})}, Parts{.strides = Ints({4, 1})},
      Parts{.storage_offset = Int(1)}, Parts{.storage_offset = Int(-1)},
      Parts{.storage_offset = Int(max)}, Parts{.strides = Ints({-3, 1})},
      Parts{.strides = Ints({max, max})}, Parts{.sizes = Ints({-1, 3})},
      Parts{.sizes = Ints({max, max})}, Parts{.strides = Ints({1})},
      // An amplifier: 4 TiB out of 24 bytes.
      Parts{.sizes = Ints({int64_t{1} << 40}), .strides = Ints({0})},
      Parts{.storage = Storage(Global("torch", "FloatStorage"), Int(max))},
      Parts{.storage = Storage(Global("torch", "FloatStorage"), Int(-1))});
  const auto tensor = Parse(Tensor(parts));
  CHECK(tensor.status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("what only torch can rebuild is not an error", "[item]") {
  const Write value = GENERATE(
      Call("torch._utils", "_rebuild_qtensor", Tuple({})),
      Call("torch._tensor", "_rebuild_from_type_v2", Tuple({})),
      Call("torch._utils", "_rebuild_sparse_tensor", Tuple({})),
      Call("lib", "my_tensor", Tuple({Int(1)})), Int(1), Dict({}),
      // Hooks, a Python attribute, a legacy or quantized storage.
      Tensor({.rest = {kNo, Dict({{Int(0), Global("lib", "hook")}})}}),
      Tensor({.rest = {kNo, NoHooks(), Dict({{Str("tag"), Int(1)}})}}),
      Tensor({.storage =
                  Storage(Global("torch.storage", "TypedStorage"), Int(6))}),
      Tensor({.storage = Storage(Global("torch", "QInt8Storage"), Int(6))}));
  CHECK(ParseOk(value).needs_torch);
}

TEST_CASE("malformed tensors are refused", "[item]") {
  const auto [parts, why] = GENERATE(table<Parts, std::string>({
      {{.storage = Int(1)}, "the storage is an int"},
      {{.storage = Storage(Int(1), Int(6))}, "class is an int"},
      {{.storage = Storage(Global("torch", "FloatStorage"), Str("6"))},
       "its size is a str"},
      {{.storage_offset = Str("0")}, "storage_offset is a str"},
      {{.sizes = Int(6)}, "size is an int"},
      {{.rest = {}}, "4 arguments"},
      {{.rest = {kNo, NoHooks(), kNoValue, kNoValue}}, "8 arguments"},
      {{.rest = {kNo, NoHooks(), Dict({{Int(1), kNo}})}}, "a flag's name"},
      {{.function = "_rebuild_tensor_v3", .rest = {kNo, NoHooks(), Int(1)}},
       "dtype is an int"},
  }));
  const auto tensor = Parse(Tensor(parts));
  CHECK(tensor.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(tensor.status())), Contains(why));
}

}  // namespace
}  // namespace dcp
