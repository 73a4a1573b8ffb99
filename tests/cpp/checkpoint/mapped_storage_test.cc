// Saves and loads of a trainer's tensors as Hugging Face's files.

#include "dcp/mapped_storage.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/llama_cases.h"
#include "checkpoint/mapped_plan.h"
#include "checkpoint/random_state.h"
#include "testing/fake_device.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;
using testing::FakeDevice;

constexpr int64_t kHeads = 4;

ModelMapping ToHf() { return Llama(MappingDirection::kToHuggingFace, kHeads); }

std::vector<StatusOr<SaveResult>> SaveMapped(
    const Place& place, const AllEntries& entries,
    const ModelMapping& mapping = ToHf()) {
  return SaveOnRanks(entries, [&](int) {
    return MakeMappedHuggingFaceWriter(place.options, mapping,
                                       {.file_system = place.fs});
  });
}

conformance::StorageUnderTest MappedStorage(const Place& place) {
  return {.make_writer = nullptr, .make_reader = [&place] {
            return MakeMappedHuggingFaceReader(
                {.path = place.directory, .io = place.options.io},
                Llama(MappingDirection::kToNative, kHeads),
                {.file_system = place.fs});
          }};
}

AllEntries Dealt(const State& state, size_t world_size, uint64_t seed) {
  Random random(seed);
  AllEntries entries(world_size);
  for (const auto& [fqn, tensor] : state.tensors) {
    DealTensor(fqn, tensor, &random, &entries);
  }
  return entries;
}

TEST_CASE("a trainer's shards become the files of the converted model",
          "[checkpoint][mapping][hugging_face]") {
  const State native = Native(48, 20);
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const Place place(MakeMemoryFileSystem(), "/hf");
    CAPTURE(seed);
    RequireAllSucceed(SaveMapped(place, Dealt(native, 1 + seed % 4, seed)));
    CHECK(place.Read("model.safetensors") ==
          WholeFile(HuggingFace(native, kHeads)));
    conformance::CheckHolds(MappedStorage(place), native);
  }
}

TEST_CASE("a mapped tensor that several ranks have is right at any size",
          "[checkpoint][mapping][hugging_face]") {
  const State native = Native(4 * 502, 1440);
  const Place place(MakeMemoryFileSystem(), "/hf");
  const bool is_sharded = GENERATE(true, false);
  RequireAllSucceed(SaveMapped(
      place, is_sharded ? Sharded(native, 3) : Replicated(native, 3)));
  CHECK((place.Read("model.safetensors") ==
         WholeFile(HuggingFace(native, kHeads))));
  conformance::CheckHolds(MappedStorage(place), native);
}

TEST_CASE("what is saved by a mapping is cast and numbered by the files' names",
          "[checkpoint][mapping][hugging_face]") {
  Place place(MakeMemoryFileSystem(), "/hf");
  place.options.export_dtype = DType::kBFloat16;
  place.options.file_numbers = {{kHfLayer + "q_proj.weight", 1},
                                {kHfLayer + "v_proj.weight", 2},
                                {"model.embed_tokens.weight", 2},
                                {"lm_head.weight", 1}};
  RequireAllSucceed(SaveMapped(place, Sharded(Native(8, 4), 2)));
  CHECK(place.names() ==
        std::vector<std::string>{"model-00001-of-00002.safetensors",
                                 "model-00002-of-00002.safetensors",
                                 "model.safetensors.index.json"});
  CHECK_THAT(place.Read("model-00001-of-00002.safetensors"),
             Contains(R"(self_attn.q_proj.weight":{"dtype":"BF16")"));
}

TEST_CASE("ranks write files of their own of mapped tensors",
          "[checkpoint][mapping][hugging_face]") {
  Place place(MakeMemoryFileSystem(), "/hf");
  place.options.file_per_rank = true;
  const State native = Native(48, 20);
  RequireAllSucceed(SaveMapped(place, Sharded(native, 3)));
  conformance::CheckHolds(place.storage(), HuggingFace(native, kHeads));
  conformance::CheckHolds(MappedStorage(place), native);
}

TEST_CASE("all ranks load their shards of native tensors",
          "[checkpoint][mapping][hugging_face]") {
  const State native = Native(48, 20);
  const Place place(MakeMemoryFileSystem(), "/hf");
  RequireAllSucceed(SaveMapped(place, Sharded(native, 2)));
  constexpr int kRanks = 3;
  const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
  std::vector<std::vector<conformance::Wanted>> wanted(kRanks);
  for (const auto& [fqn, tensor] : native.tensors) {
    for (int64_t rank = 0; rank < kRanks; ++rank) {
      const int64_t rows = tensor.sizes[0] / kRanks;
      wanted[static_cast<size_t>(rank)].push_back(
          {.fqn = fqn,
           .box = {.offsets = {rank * rows, 1},
                   .sizes = {rows, tensor.sizes[1] - 1}},
           .dtype = tensor.dtype});
    }
  }
  RequireAllSucceed(OnRanks<StatusOr<LoadResult>>(kRanks, [&](size_t rank) {
    WantedRequest request(wanted[rank]);
    const auto reader = MappedStorage(place).make_reader();
    return Load(request, *reader, *transports[rank], {});
  }));
  for (const auto& of_rank : wanted) {
    for (const conformance::Wanted& want : of_rank) {
      CAPTURE(want.fqn);
      CHECK(want.bytes ==
            conformance::BytesOf(native.tensors.at(want.fqn), want.box));
    }
  }
}

TEST_CASE("tensors of a device are mapped where they lie",
          "[checkpoint][mapping][device]") {
  const State native = Native(48, 20);
  const Place place(MakeMemoryFileSystem(), "/hf");
  const StorageEnvironment environment{
      .file_system = place.fs,
      .device_runtime = std::make_shared<FakeDevice>()};
  std::deque<std::string> memory;
  std::vector<SaveEntry> entries;
  for (const auto& [fqn, tensor] : native.tensors) {
    memory.push_back(FakeDevice::TurnedOver(tensor.bytes));
    entries.push_back(TensorEntry(
        fqn, FakeDevice::OnDevice(ContiguousView(memory.back().data(),
                                                 tensor.dtype, tensor.sizes))));
  }
  const auto writer =
      MakeMappedHuggingFaceWriter(place.options, ToHf(), environment);
  const auto transport = MakeSingleProcessTransport();
  DCP_CHECK_OK(Save(entries, *writer, *transport, {}).status());
  CHECK(place.Read("model.safetensors") ==
        WholeFile(HuggingFace(native, kHeads)));

  auto opened = Checkpoint::Open(MakeMappedHuggingFaceReader(
      {.path = "/hf", .io = place.options.io},
      Llama(MappingDirection::kToNative, kHeads), environment));
  REQUIRE(opened.ok());
  for (const auto& [fqn, tensor] : native.tensors) {
    std::string loaded(tensor.bytes.size(), '?');
    const LoadEntry entry =
        TensorLoad(fqn, FakeDevice::OnDevice(ContiguousView(
                            loaded.data(), tensor.dtype, tensor.sizes)));
    CAPTURE(fqn);
    DCP_CHECK_OK((*opened)->Read({&entry, 1}).status());
    CHECK((FakeDevice::TurnedOver(loaded) == tensor.bytes));
  }
}

TEST_CASE("a tied head is left out by a save only if it is one in memory",
          "[checkpoint][mapping][hugging_face]") {
  State native = Native(48, 20);
  ModelMapping tied = ToHf();
  tied.options.numbers["tie_word_embeddings"] = 1;
  const Place apart(MakeMemoryFileSystem(), "/hf");
  RequireAllSucceed(SaveMapped(apart, Sharded(native, 2), tied));
  CHECK(apart.Read("model.safetensors") ==
        WholeFile(HuggingFace(native, kHeads)));

  native.tensors["lm_head.weight"] = native.tensors["tok_embeddings.weight"];
  AllEntries entries = Sharded(native, 2);
  for (RankEntries& of_rank : entries) {
    const auto find = [&](const std::string& fqn) {
      return std::find_if(of_rank.entries().begin(), of_rank.entries().end(),
                          [&](const SaveEntry& e) { return e.fqn == fqn; });
    };
    const auto embeddings = find("tok_embeddings.weight");
    const auto head = find("lm_head.weight");
    REQUIRE(embeddings != of_rank.entries().end());
    REQUIRE(head != of_rank.entries().end());
    head->value = embeddings->value;
  }
  const Place together(MakeMemoryFileSystem(), "/hf");
  RequireAllSucceed(SaveMapped(together, entries, tied));
  State expected = HuggingFace(native, kHeads);
  expected.tensors.erase("lm_head.weight");
  CHECK(together.Read("model.safetensors") == WholeFile(expected));
}

TEST_CASE("what has no rule, or no number, is an error of all ranks",
          "[checkpoint][mapping][hugging_face]") {
  const Place place(MakeMemoryFileSystem(), "/hf");
  State state = Native(8, 4);
  const auto why = [&](const ModelMapping& mapping) {
    const RankFailures failures =
        RequireSameFailures(SaveMapped(place, Sharded(state, 2), mapping));
    return std::string(Message(failures.by_rank.begin()->second));
  };
  ModelMapping no_heads = ToHf();
  no_heads.options.numbers.clear();
  CHECK_THAT(why(no_heads), Contains("num_attention_heads"));
  state.tensors["extra"] = conformance::RandomTensor(5, DType::kInt64, {2});
  CHECK_THAT(why(ToHf()), Contains("extra"));
  state.tensors.erase("extra");
  state.objects["step"] = conformance::ObjectOf(3);
  CHECK_THAT(why(ToHf()), Contains("step"));
  CHECK(place.names().empty());
}

TEST_CASE("a share of a mapped plan arrives as it was sent",
          "[checkpoint][mapping]") {
  GlobalPlan plan;
  plan.plans.resize(2);
  const auto add = [&](size_t rank, const std::string& fqn, const Dims& sizes,
                       const Box& box) {
    WriteItem item = TensorItem(fqn, sizes, box);
    item.source = std::ssize(plan.plans[rank].items);
    plan.plans[rank].items.push_back(std::move(item));
  };
  const std::string fqn = kLayer + "wq.weight";
  const std::vector<Box> boxes = {{.offsets = {0, 0}, .sizes = {11, 3}},
                                  {.offsets = {11, 0}, .sizes = {5, 3}}};
  add(0, fqn, {16, 3}, boxes[0]);
  add(1, fqn, {16, 3}, boxes[1]);
  plan.metadata.Add(fqn, TensorOf({16, 3}, boxes));
  const auto mapped =
      MapPlan(plan, ToHf(), [](DType) { return DType::kBFloat16; });
  REQUIRE(mapped.ok());
  const std::string name = kHfLayer + "q_proj.weight";
  DCP_CHECK_OK(ValidateChunks(mapped->metadata, CoverageRule::kRequireFull));
  CHECK(mapped->metadata.FindTensor(name)->properties.dtype ==
        DType::kBFloat16);
  for (const MappedShare& share : mapped->shares) {
    CHECK(share.plan.items.size() == share.pieces.size());
    const std::string bytes = SerializeMappedShare(share);
    const auto parsed = ParseMappedShare(bytes);
    REQUIRE(parsed.ok());
    CHECK(parsed->plan == share.plan);
    CHECK(SerializeMappedShare(*parsed) == bytes);
    const auto cut = std::string_view(bytes).substr(0, bytes.size() - 1);
    CHECK(ParseMappedShare(cut).status().code() == absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace dcp
