// Conversions into safetensors files.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/convert_cases.h"
#include "checkpoint/random_state.h"
#include "checkpoint/safetensors_plan.h"
#include "format/safetensors_index.h"

namespace dcp {
namespace {

using conformance::RandomTensor;
using conformance::State;

Status ToDcp(std::shared_ptr<FileSystem> fs, const std::string& source,
             const std::string& destination) {
  const auto transport = MakeSingleProcessTransport();
  return Convert({.source = source,
                  .destination = destination,
                  .io = ModestIo(IoEngineKind::kThreads)},
                 *transport, {}, {.file_system = std::move(fs)})
      .status();
}

TEST_CASE("a checkpoint becomes the file that safetensors makes",
          "[checkpoint][convert]") {
  Random random(50);
  for (int round = 0; round < 8; ++round) {
    State state = RandomTensors(&random);
    state.tensors["scalar"] = RandomTensor(1, DType::kFloat32, {});
    state.tensors["none"] = RandomTensor(2, DType::kInt64, {0, 3});
    const auto fs = random.OneIn(2) ? Saved(state, {}) : SavedAsStock(state);
    const auto result = ToSafetensors(fs);
    DCP_CHECK_OK(result.status());
    const Place place(fs, "/hf");
    CHECK((place.Read("model.safetensors") == WholeFile(state)));
    CHECK(result->tensors == std::ssize(state.tensors));
    CHECK(place.names() == std::vector<std::string>{"model.safetensors"});
  }
}

TEST_CASE("compressed tensors and large ones become safetensors",
          "[checkpoint][convert]") {
  State state = StateOfManyTypes();
  state.tensors["large"] = RandomTensor(5, DType::kFloat32, {17, 1100, 1001});
  const auto fs = Saved(state, {.compression = Compression::kZstd});
  DCP_CHECK_OK(ToSafetensors(fs).status());
  CHECK((Place(fs, "/hf").Read("model.safetensors") == WholeFile(state)));
}

TEST_CASE("safetensors that were converted come back byte for byte",
          "[checkpoint][convert]") {
  const State state = StateOfManyTypes();
  const Place place(MakeMemoryFileSystem(), "/first");
  RequireAllSucceed(place.Save(Replicated(state, 1)));
  DCP_CHECK_OK(ToDcp(place.fs, "/first", "/ckpt"));
  DCP_CHECK_OK(ToSafetensors(place.fs).status());
  CHECK((Place(place.fs, "/hf").Read("model.safetensors") ==
         place.Read("model.safetensors")));
}

TEST_CASE("tensors are read in the order of the files that they go to",
          "[checkpoint][convert]") {
  const State state = StateOfManyTypes();
  const auto fs = Saved(state, {});
  const auto by_number = GENERATE(false, true);
  HuggingFaceWriterOptions options{.path = "/hf", .max_shard_nbytes = 5000};
  if (by_number) {
    for (const auto& [fqn, tensor] : state.tensors) {
      options.file_numbers[fqn] = 1 + std::ssize(tensor.bytes) % 3;
    }
  }
  DCP_CHECK_OK(ToSafetensors(fs, {.file_numbers = options.file_numbers,
                                  .max_shard_nbytes = options.max_shard_nbytes})
                   .status());
  const Place place(fs, "/hf");
  conformance::CheckHolds(place.storage(), state);
  CHECK(place.names().size() > 2);

  const auto reader =
      MakeReaderByContent({.path = "/ckpt"}, {.file_system = fs});
  const auto index = reader->ReadIndex();
  REQUIRE(index.ok());
  const auto writer = MakeHuggingFaceWriter(options, {.file_system = fs});
  auto plan = PlanConversion(index->metadata, *writer, {});
  REQUIRE(plan.ok());
  DCP_CHECK_OK(FitToSafetensors(*index, options, &*plan));
  std::vector<std::string> read;
  for (const SourceTensor& tensor : plan->tensors)
    read.emplace_back(tensor.fqn);
  CHECK(read == TensorsIn(place));
  for (size_t i = 0; i < plan->items.size(); ++i) {
    CHECK(plan->tensors[plan->items[i].tensor].fqn == plan->save.items[i].fqn);
  }
}

TEST_CASE("files are filled as Hugging Face's tools do it",
          "[checkpoint][convert]") {
  State state;
  for (int i = 0; i < 5; ++i) {
    state.tensors["layers." + std::to_string(i)] =
        RandomTensor(static_cast<uint64_t>(i), DType::kFloat32, {100, 100});
  }
  const auto fs = Saved(state, {});
  DCP_CHECK_OK(ToSafetensors(fs, {.max_shard_nbytes = 100'000}).status());
  const Place place(fs, "/hf");
  const auto index =
      ParseSafetensorsIndex(place.Read("model.safetensors.index.json"));
  REQUIRE(index.ok());
  CHECK(index->total_size == 200'000);
  CHECK(index->weight_map.at("layers.1") == "model-00001-of-00003.safetensors");
  CHECK(index->weight_map.at("layers.2") == "model-00002-of-00003.safetensors");
  CHECK(index->weight_map.at("layers.4") == "model-00003-of-00003.safetensors");
}

TEST_CASE("tied tensors of safetensors stay tied", "[checkpoint][convert]") {
  const auto fs = TiedModel();
  const auto result = ToSafetensors(fs, {.source = "/m"});
  DCP_CHECK_OK(result.status());
  CHECK(result->tensors == 4);
  CHECK(result->nbytes == 15 * 4);
  CHECK(GetFile(*fs, "/hf/model.safetensors") ==
        GetFile(*fs, "/m/model.safetensors"));
}

/// The file of one rank, with all tensors of `state` as its parts of `offsets`.
void PutPart(FileSystem& fs, int rank, const State& state,
             const std::string& offsets) {
  std::string info;
  std::vector<SafetensorsTensor> described;
  for (const auto& [fqn, tensor] : state.tensors) {
    info += (info.empty() ? "{\"" : ",\"") + fqn;
    info += R"(":{"saved_offsets":)" + offsets + "}";
    described.push_back({.name = fqn,
                         .dtype = SafetensorsDTypeOf(tensor.dtype).value(),
                         .shape = tensor.sizes});
  }
  const auto head = SerializeSafetensorsHeader(
      std::move(described), {{"DCP_SHARDING_INFO", info + "}"}});
  REQUIRE(head.ok());
  std::string bytes = head->bytes;
  for (const SafetensorsTensor& tensor : head->header.tensors) {
    bytes += state.tensors.at(tensor.name).bytes;
  }
  PutFile(fs,
          "/ckpt/shard-0000" + std::to_string(rank) +
              "-model-00001-of-00001.safetensors",
          bytes);
}

TEST_CASE("parts that ranks wrote become whole tensors, or an error",
          "[checkpoint][convert]") {
  const auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories("/ckpt"));
  State whole;
  whole.tensors["w"] = RandomTensor(1, DType::kInt64, {6, 5});
  whole.tensors["v"] = RandomTensor(2, DType::kBFloat16, {6, 3});
  for (int rank = 1; rank <= 3; ++rank) {
    State part;
    for (const auto& [fqn, tensor] : whole.tensors) {
      const Box rows{.offsets = {2 * (rank - 1), 0},
                     .sizes = {2, tensor.sizes[1]}};
      part.tensors[fqn] = {.dtype = tensor.dtype,
                           .sizes = rows.sizes,
                           .bytes = conformance::BytesOf(tensor, rows)};
    }
    PutPart(*fs, rank, part, "[" + std::to_string(2 * (rank - 1)) + ",0]");
  }
  DCP_CHECK_OK(ToSafetensors(fs).status());
  CHECK(Place(fs, "/hf").Read("model.safetensors") == WholeFile(whole));
  DCP_CHECK_OK(
      fs->Remove("/ckpt/shard-00002-model-00001-of-00001.safetensors"));
  const Status gap = ToSafetensors(fs, {.destination = "/gap"}).status();
  CHECK(gap.code() == absl::StatusCode::kDataLoss);
  CHECK_FALSE(fs->Exists("/gap").value());
}

TEST_CASE("ranks that convert together get one result",
          "[checkpoint][convert]") {
  const State state = StateOfManyTypes();
  const auto fs = Saved(state, {});
  const auto convert = [&](const std::string& source) {
    const auto transports = MakeThreadTransports(3, kRankTimeoutSeconds);
    return OnRanks<StatusOr<ConvertResult>>(3, [&](size_t rank) {
      return Convert({.source = source,
                      .destination = "/hf",
                      .format = CheckpointFormat::kSafetensors},
                     *transports[rank], {}, {.file_system = fs});
    });
  };
  const auto results = convert("/ckpt");
  RequireAllSucceed(results);
  for (const auto& result : results) CHECK(result->tensors == 12);
  CHECK(Place(fs, "/hf").Read("model.safetensors") == WholeFile(state));
  const RankFailures failures = RequireSameFailures(convert("/none"));
  CHECK(failures.by_rank.size() == 1);
  CHECK(failures.by_rank.begin()->second.code() == absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace dcp
