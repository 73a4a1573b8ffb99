#include "simulate/model_shapes.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "dcp/simulate.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("models have as many parameters as were published", "[simulate]") {
  struct Case {
    std::string model;
    size_t tensors;
    int64_t elements;
  };
  // Of DeepSeek-V3 without the layer that predicts a second token, with the
  // biases of its experts.
  const auto& [model, tensors, elements] =
      GENERATE(Case{"llama3-70b", 723, 70'553'706'496},
               Case{"llama3-405b", 1137, 405'853'388'800},
               Case{"deepseek-v3", 1025, 671'026'419'200});
  INFO(model);
  const auto shape = ModelShapeOf(model);
  REQUIRE(shape.ok());
  int64_t sum = 0;
  std::set<std::string> names;
  for (const ModelTensor& tensor : shape->tensors) {
    sum += Numel(tensor.shape);
    names.insert(tensor.fqn);
  }
  CHECK(shape->tensors.size() == tensors);
  CHECK(names.size() == tensors);
  CHECK(sum == elements);
}

TEST_CASE("a model's tensors come in units, from the first to the last",
          "[simulate]") {
  for (const std::string_view model : SimulatedModels()) {
    const auto shape = ModelShapeOf(model);
    REQUIRE(shape.ok());
    int unit = 0;
    for (const ModelTensor& tensor : shape->tensors) {
      REQUIRE((tensor.unit == unit || tensor.unit == unit + 1));
      unit = tensor.unit;
      REQUIRE(tensor.tp_dim < tensor.shape.size());
    }
    CHECK(unit + 1 == shape->units);
    CHECK(shape->tensors.front().fqn == "tok_embeddings.weight");
    CHECK(shape->tensors.back().fqn == "output.weight");
  }
}

TEST_CASE("the tensors of a model are told by name and shape", "[simulate]") {
  const auto tensors = SimulatedTensors("llama3-70b");
  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 723);
  CHECK(tensors->at(1).fqn == "layers.0.attention.wq.weight");
  CHECK(tensors->at(1).shape == Dims{8192, 8192});
  CHECK_FALSE(SimulatedTensors("llama9").ok());
}

TEST_CASE("a model that is not known is an error that names those that are",
          "[simulate]") {
  const Status status = ModelShapeOf("llama9").status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)),
             Contains("no model \"llama9\"; there are llama3-70b, "
                      "llama3-405b, deepseek-v3"));
}

}  // namespace
}  // namespace dcp
