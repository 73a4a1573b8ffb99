#include "format/safetensors_shards.h"

#include <catch2/catch.hpp>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace dcp {
namespace {

using Name = SafetensorsFileName;
using Shards = std::vector<SafetensorsShard>;

TEST_CASE("files have the names that Hugging Face gives them",
          "[safetensors]") {
  CHECK(SafetensorsShardName("model", 1, 1) == "model.safetensors");
  CHECK(SafetensorsShardName("model", 1, 2) ==
        "model-00001-of-00002.safetensors");
  CHECK(SafetensorsShardName("model.fp16", 123, 99999) ==
        "model.fp16-00123-of-99999.safetensors");
  CHECK(SafetensorsShardName("model", 7, 123456) ==
        "model-00007-of-123456.safetensors");
  CHECK(SafetensorsShardName("adapter_model", 1, 1) ==
        "adapter_model.safetensors");
}

TEST_CASE("names are taken apart and put together again", "[safetensors]") {
  CHECK(ParseSafetensorsFileName("model-00002-of-00010.safetensors") ==
        Name{.stem = "model", .number = 2, .count = 10});
  CHECK(ParseSafetensorsFileName("model-00001-of-00001.safetensors") ==
        Name{.stem = "model", .number = 1, .count = 1});
  CHECK(ParseSafetensorsFileName("model-100000-of-100001.safetensors") ==
        Name{.stem = "model", .number = 100000, .count = 100001});
  CHECK(ParseSafetensorsFileName("model.safetensors") == Name{.stem = "model"});
  // torch 2.13 _hf_utils _gen_file_name, of one rank.
  CHECK(ParseSafetensorsFileName(
            "shard-00001-model-00002-of-00003.safetensors") ==
        Name{.stem = "shard-00001-model", .number = 2, .count = 3});
  // Numbers that are not those of a shard belong to the stem.
  for (const std::string stem :
       {"model-00003-of-00002", "model-00000-of-00002", "model-1-of-2",
        "model-000001-of-000002", "model-00001-of-", "-00001-of-00002",
        "model00001-of-00002", "model-00001of-00002", "model-00001-of-00002x",
        "model-99999999999999999999-of-99999999999999999999"}) {
    CAPTURE(stem);
    CHECK(ParseSafetensorsFileName(stem + ".safetensors") ==
          Name{.stem = stem});
  }
  for (const char* text :
       {"", ".safetensors", "model", "model.bin", "model.safetensors.tmp",
        "a/model.safetensors", "model.safetensors.index.json",
        "model.SAFETENSORS"}) {
    CAPTURE(text);
    CHECK(ParseSafetensorsFileName(text) == std::nullopt);
  }
}

TEST_CASE("files of ranks have the names that torch gives them",
          "[safetensors]") {
  CHECK(RankShardName(0, 1, 1) ==
        "shard-00001-model-00001-of-00001.safetensors");
  CHECK(RankShardName(11, 3, 4) ==
        "shard-00012-model-00003-of-00004.safetensors");
  CHECK(IsRankShardName(RankShardName(99999, 2, 2)));
  for (const char* text : {"shard-00000-model-00001-of-00001.safetensors",
                           "shard-1-model-00001-of-00001.safetensors",
                           "shard--model-00001-of-00001.safetensors",
                           "shard-00001-model.safetensors",
                           "shard-00001-model-00002-of-00001.safetensors",
                           "my-shard-00001-model-00001-of-00001.safetensors",
                           "shard-00001-optim-00001-of-00001.safetensors",
                           "model-00001-of-00001.safetensors",
                           "shard-00001-model-00001-of-00001", ""}) {
    CAPTURE(text);
    CHECK_FALSE(IsRankShardName(text));
  }
}

std::vector<ShardTensor> Sizes(std::initializer_list<int64_t> sizes) {
  std::vector<ShardTensor> tensors;
  for (const int64_t nbytes : sizes) tensors.push_back({.nbytes = nbytes});
  return tensors;
}

TEST_CASE("shards are filled in order", "[safetensors]") {
  CHECK(SplitIntoShards({}, 10).empty());
  CHECK(SplitIntoShards(Sizes({6, 4, 2}), 100) ==
        Shards{{.tensors = {0, 1, 2}, .nbytes = 12}});
  CHECK(SplitIntoShards(Sizes({6, 4, 2, 8, 1}), 10) ==
        Shards{{.tensors = {0, 1}, .nbytes = 10},
               {.tensors = {2, 3}, .nbytes = 10},
               {.tensors = {4}, .nbytes = 1}});
  // No bin packing: 1 does not go back to the first one.
  CHECK(SplitIntoShards(Sizes({8, 9, 1, 1}), 10) ==
        Shards{{.tensors = {0}, .nbytes = 8},
               {.tensors = {1, 2}, .nbytes = 10},
               {.tensors = {3}, .nbytes = 1}});
}

TEST_CASE("a tensor that is too large is alone, and ends no shard",
          "[safetensors]") {
  CHECK(SplitIntoShards(Sizes({2, 30, 3, 40, 5, 1}), 10) ==
        Shards{{.tensors = {1}, .nbytes = 30},
               {.tensors = {3}, .nbytes = 40},
               {.tensors = {0, 2, 4}, .nbytes = 10},
               {.tensors = {5}, .nbytes = 1}});
  CHECK(SplitIntoShards(Sizes({11}), 10) ==
        Shards{{.tensors = {0}, .nbytes = 11}});
}

TEST_CASE("tensors of one storage go where the first one goes",
          "[safetensors]") {
  std::vector<ShardTensor> tensors = Sizes({6, 5, 6, 2, 20, 20});
  tensors[0].storage_id = tensors[2].storage_id = 77;
  tensors[4].storage_id = tensors[5].storage_id = -1;
  CHECK(SplitIntoShards(tensors, 10) ==
        Shards{{.tensors = {0, 2}, .nbytes = 6},
               {.tensors = {4, 5}, .nbytes = 20},
               {.tensors = {1, 3}, .nbytes = 7}});
}

TEST_CASE("every tensor is in one shard, which is no larger than asked for",
          "[safetensors]") {
  std::mt19937_64 rng(5);
  for (int round = 0; round < 500; ++round) {
    const auto max_nbytes = static_cast<int64_t>(1 + rng() % 100);
    std::vector<ShardTensor> tensors(rng() % 40);
    for (ShardTensor& tensor : tensors) {
      tensor.nbytes = static_cast<int64_t>(rng() % 120);
      if (rng() % 3 == 0) tensor.storage_id = static_cast<int64_t>(rng() % 5);
    }
    std::set<size_t> seen;
    for (const SafetensorsShard& shard : SplitIntoShards(tensors, max_nbytes)) {
      int64_t nbytes = 0;
      std::set<int64_t> storages;
      size_t counted = 0;
      for (const size_t i : shard.tensors) {
        REQUIRE(seen.insert(i).second);
        const auto& storage = tensors[i].storage_id;
        if (storage && !storages.insert(*storage).second) continue;
        nbytes += tensors[i].nbytes;
        ++counted;
      }
      REQUIRE(shard.nbytes == nbytes);
      REQUIRE((nbytes <= max_nbytes || counted == 1));
    }
    REQUIRE(seen.size() == tensors.size());
  }
}

TEST_CASE("sizes are read as users write them", "[safetensors]") {
  const std::pair<const char*, int64_t> sizes[] = {
      {"5GB", 5'000'000'000},
      {"500MB", 500'000'000},
      {"50gb", 50'000'000'000},
      {" 1 KB ", 1000},
      {"2TB", 2'000'000'000'000},
      {"1", 1},
      {"123456", 123456},
      {"7b", 7},
      {"1KiB", 1024},
      {"5GiB", int64_t{5} << 30},
      {"3mib", int64_t{3} << 20},
      {"1TiB", int64_t{1} << 40},
      {"1.5GB", 1'500'000'000},
      {"0.25KiB", 256},
      {"0.0019KB", 1},
      {"2.000001TB", 2'000'001'000'000},
      {"9223372036854775807", std::numeric_limits<int64_t>::max()},
      {"9223372TB", 9'223'372'000'000'000'000}};
  for (const auto& [text, nbytes] : sizes) {
    CAPTURE(text);
    CHECK(ParseShardNbytes(text).value() == nbytes);
  }
}

TEST_CASE("what is no size is refused", "[safetensors]") {
  for (const char* text : {"",
                           " ",
                           "GB",
                           "0",
                           "0GB",
                           "-5GB",
                           "+5GB",
                           "5 G B",
                           "5G",
                           "5PB",
                           "5GBs",
                           "5KIB5",
                           "1.2.3GB",
                           ".5GB",
                           "5.GB",
                           "1e9",
                           "five",
                           "5,000",
                           "0x10",
                           "0.0001KB",
                           "1.1234567GB",
                           "9223372036854775808",
                           "9223373TB",
                           "5iB",
                           "5xB",
                           "5BB",
                           "1.5",
                           "1.5B"}) {
    CAPTURE(text);
    const Status status = ParseShardNbytes(text).status();
    CHECK(status.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(Message(status)),
               Catch::Matchers::Contains("is no size of a file"));
  }
}

}  // namespace
}  // namespace dcp
