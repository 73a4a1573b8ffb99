// Saves into safetensors files, by all ranks at once.

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/random_state.h"
#include "format/safetensors_index.h"
#include "format/sidecar.h"
#include "testing/forwarding_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;
using conformance::StateTensor;

void CheckRandomSaves(const Place& place, uint64_t seed, int rounds) {
  Random random(seed);
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const State state = SaveRandomState(place, &random);
    REQUIRE(place.Read("model.safetensors") == WholeFile(state));
    conformance::CheckHolds(place.storage(), state);
  }
}

TEST_CASE("whatever the sharding, the file is that of the gathered model",
          "[checkpoint][hugging_face]") {
  SECTION("through the page cache") {
    const testing::TempDirectory directory;
    Place place(MakePosixFileSystem(), directory.path() + "/m");
    place.options.io.direct_io = DirectIo::kOff;
    CheckRandomSaves(place, 40, 8);
  }
  SECTION("past the page cache, where that is possible") {
    const testing::TempDirectory directory;
    const Place place(MakePosixFileSystem(), directory.path() + "/m");
    CheckRandomSaves(place, 41, 12);
  }
  SECTION("in memory") {
    const Place place(MakeMemoryFileSystem(), "/m");
    CheckRandomSaves(place, 42, 12);
  }
  SECTION("with one writer for each file") {
    Place place(MakeMemoryFileSystem(), "/m");
    place.options.one_writer_per_file = true;
    CheckRandomSaves(place, 43, 6);
  }
}

TEST_CASE("several files come with an index", "[checkpoint][hugging_face]") {
  State state;
  for (int i = 0; i < 5; ++i) {
    state.tensors["layers." + std::to_string(i)] = conformance::RandomTensor(
        static_cast<uint64_t>(i), DType::kFloat32, {100, 100});
  }
  Place place(MakeMemoryFileSystem(), "/m");
  place.options.max_shard_nbytes = 100'000;
  RequireAllSucceed(place.Save(Sharded(state, 3)));
  CHECK(place.names() ==
        std::vector<std::string>{"model-00001-of-00003.safetensors",
                                 "model-00002-of-00003.safetensors",
                                 "model-00003-of-00003.safetensors",
                                 "model.safetensors.index.json"});
  const auto index =
      ParseSafetensorsIndex(place.Read("model.safetensors.index.json"));
  REQUIRE(index.ok());
  CHECK(index->total_size == 200'000);
  CHECK(index->total_parameters == 50'000);
  CHECK(index->weight_map.at("layers.4") == "model-00003-of-00003.safetensors");
  conformance::CheckHolds(place.storage(), state);
}

TEST_CASE("the sidecar knows the step that the directory is named after",
          "[checkpoint][hugging_face]") {
  const auto [directory, step] =
      GENERATE(table<std::string, std::optional<int64_t>>(
          {{"/run/step-12", 12}, {"/run/model", std::nullopt}}));
  State state;
  state.tensors["w"] = conformance::RandomTensor(1, DType::kFloat32, {3});
  Place place(MakeMemoryFileSystem(), directory);
  place.options.save_id = "dcpcpp-" + std::string(32, 'a');
  RequireAllSucceed(place.Save(Sharded(state, 1)));
  const auto sidecar = ParseSidecar(place.Read("." + place.options.save_id));
  REQUIRE(sidecar.ok());
  CHECK(sidecar->step == step);
}

TEST_CASE("floats are cast on the way, other types are not",
          "[checkpoint][hugging_face]") {
  const std::vector<float> values = {1.0F, -2.5F, 3.14159F, 1e30F};
  State state;
  state.tensors["w"] = {
      .dtype = DType::kFloat32,
      .sizes = {4},
      .bytes = std::string(reinterpret_cast<const char*>(values.data()), 16)};
  state.tensors["n"] = conformance::RandomTensor(1, DType::kInt64, {3});
  Place place(MakeMemoryFileSystem(), "/m");
  place.options.export_dtype = DType::kBFloat16;
  RequireAllSucceed(place.Save(Sharded(state, 2)));
  const std::string file = place.Read("model.safetensors");
  CHECK_THAT(file, Contains(R"("w":{"dtype":"BF16")"));
  const unsigned char last[] = {0x49, 0x40, 0x4A, 0x71};  // 3.14159, 1e30
  CHECK(file.substr(file.size() - 4) ==
        std::string(reinterpret_cast<const char*>(last), 4));
}

/// Does not see what another host has made.
class Elsewhere final : public testing::ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;
  StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                       const OpenOptions& options) override {
    if (options.mode == OpenMode::kShared) return NotFound(path);
    return ForwardingFileSystem::Open(path, options);
  }
};

TEST_CASE("casts are the same whoever sends what to whom",
          "[checkpoint][hugging_face]") {
  const DType dtype =
      GENERATE(DType::kBFloat16, DType::kFloat64, DType::kFloat32);
  Place together(MakeMemoryFileSystem(), "/m");
  Place alone(MakeMemoryFileSystem(), "/m");
  together.options.export_dtype = dtype;
  alone.options.export_dtype = dtype;
  Random random(44);
  for (int round = 0; round < 6; ++round) {
    State state = RandomTensors(&random);
    state.tensors["f"] = conformance::RandomTensor(
        random.engine(), DType::kFloat16, {700, random.Between(900, 1100)});
    state.tensors["b"] = conformance::RandomTensor(
        random.engine(), DType::kBool, {331, random.Between(900, 1100)});
    AllEntries entries(static_cast<size_t>(random.Between(2, 4)));
    for (const auto& [fqn, tensor] : state.tensors) {
      DealTensor(fqn, tensor, &random, &entries);
    }
    RequireAllSucceed(together.Save(entries));
    RequireAllSucceed(alone.Save(Replicated(state, 1)));
    CHECK(together.Read("model.safetensors") ==
          alone.Read("model.safetensors"));
  }
}

TEST_CASE("a header that reaches into another rank's part is whole",
          "[checkpoint][hugging_face]") {
  State state;
  AllEntries entries(2);
  for (int i = 0; i < 13'000; ++i) {
    const std::string fqn = "a.tensor.with.a.long.name." + std::to_string(i);
    state.tensors[fqn] =
        conformance::RandomTensor(static_cast<uint64_t>(i), DType::kInt64, {1});
    entries[0].AddWhole(fqn, state.tensors[fqn]);
  }
  state.tensors["w"] =
      conformance::RandomTensor(1, DType::kFloat32, {1024, 1024});
  entries[1].AddWhole("w", state.tensors["w"]);
  const Place place(MakeMemoryFileSystem(), "/m");
  RequireAllSucceed(place.Save(entries));
  CHECK(place.Read("model.safetensors") == WholeFile(state));
}

TEST_CASE("a rank that saves alone has all of every tensor",
          "[checkpoint][hugging_face]") {
  const StateTensor tensor =
      conformance::RandomTensor(1, DType::kFloat32, {8, 4});
  AllEntries entries(1);
  entries[0].AddShard("w", tensor, {.offsets = {0, 0}, .sizes = {4, 4}});
  const Place place(MakeMemoryFileSystem(), "/m");
  RequireSameFailures(place.Save(entries));
  CHECK(place.names().empty());
}

TEST_CASE("a rank that cannot write does not keep the others waiting",
          "[checkpoint][hugging_face]") {
  State state;
  state.tensors["w"] =
      conformance::RandomTensor(1, DType::kFloat32, {2048, 2048});
  const Place place(MakeMemoryFileSystem(), "/m");
  const int bad = GENERATE(0, 1, 2);
  const auto start = std::chrono::steady_clock::now();
  const auto saved = SaveOnRanks(Sharded(state, 3), [&](int rank) {
    const std::shared_ptr<FileSystem> fs =
        rank == bad ? std::make_shared<Elsewhere>(place.fs) : place.fs;
    return MakeHuggingFaceWriter(place.options, {.file_system = fs});
  });
  // The limit of a storage that does not answer is five minutes.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(60));
  const RankFailures failures = RequireSameFailures(saved);
  CHECK_THAT(std::string(Message(failures.by_rank.at(bad))),
             Contains("safetensors are saved to a directory that all ranks"));
  CHECK(place.names().empty());
}

/// Refuses this rank the first time that it asks whether to go on.
class RefusingTransport final : public Transport {
 public:
  explicit RefusingTransport(Transport& base) : base_(base) {}
  int rank() const override { return base_.rank(); }
  int world_size() const override { return base_.world_size(); }
  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    return base_.Gather(message);
  }
  StatusOr<std::string> Scatter(std::span<const std::string> all) override {
    return base_.Scatter(all);
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    return base_.Broadcast(message);
  }
  Status AwaitAll(std::string_view phase) override {
    return base_.AwaitAll(phase);
  }
  Status Check() override {
    if (std::exchange(has_refused_, true)) return base_.Check();
    return MakeStatus(absl::StatusCode::kResourceExhausted, "no descriptor");
  }

 private:
  Transport& base_;
  bool has_refused_ = false;
};

TEST_CASE("a rank that fails while ranks connect keeps nobody waiting",
          "[checkpoint][hugging_face]") {
  State state;
  state.tensors["w"] =
      conformance::RandomTensor(1, DType::kFloat32, {2048, 2048});
  const Place place(MakeMemoryFileSystem(), "/m");
  const size_t bad = GENERATE(0, 1, 2);
  const AllEntries entries = Sharded(state, 3);
  const auto transports = MakeThreadTransports(3, kRankTimeoutSeconds);
  const auto start = std::chrono::steady_clock::now();
  const auto saved = OnRanks<StatusOr<SaveResult>>(3, [&](size_t rank) {
    const auto writer =
        MakeHuggingFaceWriter(place.options, {.file_system = place.fs});
    RefusingTransport refusing(*transports[rank]);
    Transport& transport =
        rank == bad ? static_cast<Transport&>(refusing) : *transports[rank];
    return Save(entries[rank].span(), *writer, transport, {});
  });
  // The others would wait half an hour for a rank that is there.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(30));
  const RankFailures failures = RequireSameFailures(saved);
  CHECK(Message(failures.by_rank.at(static_cast<int>(bad))) == "no descriptor");
  CHECK(place.names().empty());
}

TEST_CASE("objects and types that safetensors lacks are refused by all ranks",
          "[checkpoint][hugging_face]") {
  State state = conformance::SmallState(1);
  const Place place(MakeMemoryFileSystem(), "/m");
  RankFailures failures = RequireSameFailures(place.Save(Sharded(state, 2)));
  REQUIRE(failures.by_rank.size() >= 1);
  CHECK_THAT(std::string(Message(failures.by_rank.begin()->second)),
             Contains("step is no tensor"));
  state.objects.clear();
  state.tensors["z"] = conformance::RandomTensor(2, DType::kComplex128, {4});
  failures = RequireSameFailures(place.Save(Sharded(state, 2)));
  CHECK_THAT(std::string(Message(failures.by_rank.begin()->second)),
             Contains("no type for the complex128 tensor z"));
  CHECK(place.names().empty());
}

}  // namespace
}  // namespace dcp
