// Which keys of a checkpoint are converted, as what, and what is refused.

#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/convert_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::RandomTensor;
using conformance::State;

TEST_CASE("another name is stored itself where the first one is left out",
          "[checkpoint][convert]") {
  const auto fs = TiedModel();
  const auto without_embed =
      [](const std::string& key) -> std::optional<std::string> {
    if (key == "embed") return std::nullopt;
    return "m." + key;
  };
  DCP_CHECK_OK(
      ToSafetensors(fs, {.source = "/m"}, {.rename = without_embed}).status());
  const Place place(fs, "/hf");
  CHECK(TensorsIn(place) ==
        std::vector<std::string>{"m.empty", "m.head", "m.norm"});
  CHECK(HeaderOf(place.Read("model.safetensors")).metadata.size() == 1);
}

TEST_CASE("what safetensors cannot hold is refused before anything is written",
          "[checkpoint][convert]") {
  State state = StateOfManyTypes();
  state.objects = {{"step", EncodeObject({0.5}).value()}};
  const auto fs = Saved(state, {});
  const Status object = ToSafetensors(fs).status();
  CHECK(object.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(object)), Contains("step is no tensor"));
  CHECK_FALSE(fs->Exists("/hf").value());
  const auto result =
      ToSafetensors(fs, {}, {.rename = [](const std::string& key) {
                      return key == "step" ? std::nullopt : std::optional(key);
                    }});
  DCP_CHECK_OK(result.status());
  CHECK(result->objects == 0);
  state.tensors["z"] = RandomTensor(1, DType::kComplex128, {2});
  const State complex_too{.tensors = state.tensors, .objects = {}};
  const Status complex = ToSafetensors(Saved(complex_too, {})).status();
  CHECK_THAT(std::string(Message(complex)), Contains("complex128 tensor z"));
}

TEST_CASE("a conversion renames keys and leaves some out",
          "[checkpoint][convert]") {
  State state;
  state.tensors["model.w"] = RandomTensor(1, DType::kFloat32, {5, 3});
  state.tensors["optimizer.w"] = RandomTensor(2, DType::kFloat32, {5, 3});
  state.objects = {{"optimizer.rate", EncodeObject({0.5}).value()}};
  const auto fs = Saved(state, {});
  const auto model = [](const std::string& key) -> std::optional<std::string> {
    if (!key.starts_with("model.")) return std::nullopt;
    return key.substr(6);
  };
  DCP_CHECK_OK(ToSafetensors(fs, {}, {.rename = model}).status());
  const State expected{.tensors = {{"w", state.tensors.at("model.w")}},
                       .objects = {}};
  CHECK(Place(fs, "/hf").Read("model.safetensors") == WholeFile(expected));
  // Objects keep their bytes under another name, too.
  const auto transport = MakeSingleProcessTransport();
  DCP_CHECK_OK(Convert({.source = "/ckpt", .destination = "/new"}, *transport,
                       {.rename =
                            [](const std::string& key) {
                              return std::optional("x." + key);
                            }},
                       {.file_system = fs})
                   .status());
  State renamed;
  for (const auto& [fqn, t] : state.tensors) renamed.tensors["x." + fqn] = t;
  for (const auto& [fqn, o] : state.objects) renamed.objects["x." + fqn] = o;
  const NativePlace place{.fs = fs, .directory = "/new"};
  conformance::CheckHolds(NativeStorage(place), renamed);
}

TEST_CASE("a selection of nothing, and two keys of one name, are refused",
          "[checkpoint][convert]") {
  const auto fs = Saved(StateOfManyTypes(), {});
  const auto renamed = [&](std::optional<std::string> name) {
    const Status status =
        ToSafetensors(fs, {}, {.rename = [&](const auto&) { return name; }})
            .status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    return std::string(Message(status));
  };
  CHECK_THAT(renamed(std::nullopt), Contains("none of the 12 keys"));
  CHECK_THAT(renamed("w"), Contains("would be called w"));
}

TEST_CASE("a number of a file belongs to a tensor", "[checkpoint][convert]") {
  const State state = StateOfManyTypes();
  const auto fs = Saved(state, {});
  std::map<std::string, int64_t> numbers;
  for (const auto& [fqn, tensor] : state.tensors) numbers[fqn] = 1;
  numbers["absent"] = 2;
  const Status absent = ToSafetensors(fs, {.file_numbers = numbers}).status();
  CHECK_THAT(std::string(Message(absent)), Contains("no such tensor"));
  CHECK_FALSE(fs->Exists("/hf").value());
  numbers.erase("absent");
  numbers.erase("t3");
  const Status missing = ToSafetensors(fs, {.file_numbers = numbers}).status();
  CHECK_THAT(std::string(Message(missing)), Contains("no file for t3"));
}

TEST_CASE("safetensors are converted into directories",
          "[checkpoint][convert]") {
  const auto fs = Saved(StateOfManyTypes(), {});
  const Status status =
      ToSafetensors(fs, {.destination = "/m.safetensors"}).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)), Contains("into a directory"));
}

}  // namespace
}  // namespace dcp
