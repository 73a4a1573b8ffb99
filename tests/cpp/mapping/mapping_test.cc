#include "dcp/mapping.h"

#include <catch2/catch.hpp>
#include <string>

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("a config.json is read for its numbers", "[mapping]") {
  const auto numbers = ParseModelNumbers(
      R"({"hidden_size": 64, "tie_word_embeddings": true, "rms_norm_eps": 1e-5,
          "text_config": {"heads": 4, "rope": {"theta": 10000, "on": false}},
          "architectures": ["X"], "torch_dtype": "bfloat16", "none": null})");
  REQUIRE(numbers.ok());
  CHECK(*numbers == ModelNumbers{{"hidden_size", 64},
                                 {"text_config.heads", 4},
                                 {"text_config.rope.on", 0},
                                 {"text_config.rope.theta", 10000},
                                 {"tie_word_embeddings", 1}});
  for (const char* text : {"", "[1]", "{\"a\": 1,}"}) {
    const Status status = ParseModelNumbers(text).status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(status)), Contains("config.json"));
  }
}

TEST_CASE("a mapping is asked for by its model, its rules, or both",
          "[mapping]") {
  const std::string rules = R"({"rules": [{"native": "x", "hf": "y"}]})";
  const std::vector<MappingSource> own{{.name = "x"}};
  const std::vector<MappingSource> models{{.name = "norm.weight"}};
  const auto both = MakeModelMapping({.model = "llama3", .rules_json = rules});
  REQUIRE(both.ok());
  CHECK(both->mapping.Plan(own, both->options).ok());
  CHECK(both->mapping.Plan(models, both->options).ok());
  const auto alone = MakeModelMapping({.rules_json = rules});
  REQUIRE(alone.ok());
  CHECK(alone->mapping.Plan(own, alone->options).ok());
  CHECK_FALSE(alone->mapping.Plan(models, alone->options).ok());
  CHECK(MakeModelMapping({}).status().code() ==
        absl::StatusCode::kInvalidArgument);
  const Status unknown = MakeModelMapping({.model = "llama9"}).status();
  CHECK(unknown.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(unknown)),
             Contains("llama9") && Contains("llama3, llama4, qwen3"));
}

TEST_CASE("a flavor and a config.json must agree", "[mapping]") {
  const auto merged = MakeModelMapping(
      {.model = "llama3",
       .flavor = "8B",
       .config_json = R"({"num_attention_heads": 32, "vocab_size": 7})"});
  REQUIRE(merged.ok());
  CHECK(merged->options.numbers == ModelNumbers{{"num_attention_heads", 32},
                                                {"num_key_value_heads", 8},
                                                {"tie_word_embeddings", 0},
                                                {"vocab_size", 7}});
  const Status differs =
      MakeModelMapping({.model = "llama3",
                        .flavor = "70B",
                        .config_json = R"({"num_attention_heads": 32})"})
          .status();
  CHECK(differs.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(differs)),
             Contains("32 as num_attention_heads") && Contains("64"));
  const Status unknown =
      MakeModelMapping({.model = "llama3", .flavor = "9B"}).status();
  CHECK_THAT(std::string(Message(unknown)), Contains("no flavor \"9B\""));
}

}  // namespace
}  // namespace dcp
