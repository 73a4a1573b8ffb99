// What a load reports, refuses and casts, on one rank and on several.

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::AllOf;
using conformance::SmallState;
using conformance::State;
using conformance::Wanted;

/// SmallState, saved by two ranks in memory.
struct Stored {
  Stored() { RequireAllSucceed(SaveOnRanks(Sharded(state, 2), storage)); }

  State state = SmallState(1);
  std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();
  conformance::StorageUnderTest storage = NativeStorage(NativePlace{.fs = fs});
};

/// A request with entries of the test's own.
class EntriesRequest final : public LoadRequest {
 public:
  explicit EntriesRequest(StatusOr<std::vector<LoadEntry>> entries)
      : entries_(std::move(entries)) {}
  StatusOr<std::vector<LoadEntry>> MakeEntries(const Metadata&) override {
    return entries_;
  }

 private:
  const StatusOr<std::vector<LoadEntry>> entries_;
};

StatusOr<LoadResult> LoadEntries(const Stored& stored,
                                 StatusOr<std::vector<LoadEntry>> entries,
                                 const LoadOptions& options = {}) {
  EntriesRequest request(std::move(entries));
  const auto reader = stored.storage.make_reader();
  const auto transport = MakeSingleProcessTransport();
  return Load(request, *reader, *transport, options);
}

TEST_CASE("an empty chunk outside of its tensor harms no load",
          "[checkpoint]") {
  const Stored stored;
  Metadata metadata = ReadMetadata(*stored.fs);
  auto& weight =
      std::get<TensorStorageMetadata>(*metadata.FindMutable("weight"));
  weight.chunks.push_back({.offsets = {100, 0}, .sizes = {0, 32}});
  PutStockMetadata(*stored.fs, metadata);
  std::vector<std::vector<Wanted>> wanted = {AllOf(stored.state)};
  RequireAllSucceed(LoadOnRanks(wanted, stored.storage));
  CHECK(AllRight(stored.state, wanted[0]));
}

TEST_CASE("a view that is no tensor is refused", "[checkpoint]") {
  const Stored stored;
  std::string memory(8, '?');
  const TensorView good = ContiguousView(memory.data(), DType::kFloat32, {64});
  TensorView no_strides = good;
  no_strides.strides = {};
  TensorView no_memory = good;
  no_memory.data = nullptr;
  for (const TensorView& view : {no_strides, no_memory}) {
    const auto loaded =
        LoadEntries(stored, std::vector{TensorLoad("bias", view)});
    CHECK(loaded.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(Message(loaded.status())), Contains("bias"));
    auto fs = MakeMemoryFileSystem();
    const auto writer = NativeStorage(NativePlace{.fs = fs}).make_writer();
    const auto transport = MakeSingleProcessTransport();
    const std::vector<SaveEntry> entries = {TensorEntry("bias", view)};
    const auto saved =
        Save(std::span<const SaveEntry>(entries), *writer, *transport, {});
    CHECK(saved.status().code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(std::string(Message(saved.status())), Contains("bias"));
  }
}

TEST_CASE("a key that the checkpoint lacks is an error, or is reported",
          "[checkpoint]") {
  const Stored stored;
  std::string memory(8, '?');
  const std::vector<LoadEntry> entries = {
      ObjectLoad("step"),
      TensorLoad("absent",
                 ContiguousView(memory.data(), DType::kFloat32, {2}))};
  auto loaded = LoadEntries(stored, entries);
  CHECK(loaded.status().code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(loaded.status())),
             Contains("Missing key in checkpoint state_dict: absent."));
  loaded = LoadEntries(stored, entries, {.allow_partial_load = true});
  REQUIRE(loaded.ok());
  CHECK(loaded->missing == std::vector<std::string>{"absent"});
  CHECK(loaded->unexpected == std::vector<std::string>{"bias", "weight"});
  CHECK(memory == std::string(8, '?'));
}

TEST_CASE("a tensor of another shape is refused before anything is written",
          "[checkpoint]") {
  const Stored stored;
  std::string weight(64 * 32 * 4, '?');
  std::string bias(2 * 63, '?');
  const auto loaded = LoadEntries(
      stored,
      std::vector<LoadEntry>{
          TensorLoad("weight",
                     ContiguousView(weight.data(), DType::kFloat32, {64, 32})),
          TensorLoad("bias",
                     ContiguousView(bias.data(), DType::kBFloat16, {63}))});
  CHECK(loaded.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(loaded.status())),
             Contains("Size mismatch between saved torch.Size([64]) and "
                      "current: torch.Size([63]) for bias"));
  CHECK(weight == std::string(weight.size(), '?'));
}

TEST_CASE("a destination outside its global shape is refused", "[checkpoint]") {
  const Stored stored;
  std::string memory(4000, '?');
  const auto view = ContiguousView(memory.data(), DType::kFloat32, {2, 32});
  const auto loaded = LoadEntries(
      stored,
      std::vector<LoadEntry>{ShardLoad("weight", view, {64, 32}, {63, 0})});
  CHECK(loaded.status().code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("an object cannot be asked of a tensor", "[checkpoint]") {
  const Stored stored;
  const auto loaded =
      LoadEntries(stored, std::vector<LoadEntry>{ObjectLoad("weight")});
  CHECK(loaded.status().code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(loaded.status())), Contains("weight"));
}

TEST_CASE("casts are made and reported once a key", "[checkpoint]") {
  const Stored stored;
  std::vector<float> low(32);
  std::vector<float> high(32);
  const auto view = [](std::vector<float>& memory) {
    return ContiguousView(memory.data(), DType::kFloat32, {32});
  };
  const auto loaded = LoadEntries(
      stored,
      std::vector<LoadEntry>{ShardLoad("bias", view(low), {64}, {0}),
                             ShardLoad("bias", view(high), {64}, {32})});
  REQUIRE(loaded.ok());
  REQUIRE(loaded->casts.size() == 1);
  CHECK(loaded->casts[0].fqn == "bias");
  CHECK(loaded->casts[0].stored == DType::kBFloat16);
  CHECK_FALSE(loaded->casts[0].lossy);
  // bfloat16 is the upper half of a float.
  const std::string& bytes = stored.state.tensors.at("bias").bytes;
  for (size_t i = 0; i < 64; ++i) {
    uint32_t word = 0;
    std::memcpy(&word, i < 32 ? &low[i] : &high[i - 32], 4);
    uint16_t half = 0;
    std::memcpy(&half, bytes.data() + 2 * i, 2);
    const bool is_nan = (half & 0x7f80) == 0x7f80;
    if (!is_nan) CHECK(word == uint32_t{half} << 16);
  }
}

TEST_CASE("nobody's memory is written if one rank cannot plan",
          "[checkpoint]") {
  const Stored stored;
  std::vector<std::string> memory(3, std::string(64 * 32 * 4, '?'));
  const auto transports = MakeThreadTransports(3, kRankTimeoutSeconds);
  const auto results = OnRanks<StatusOr<LoadResult>>(3, [&](size_t rank) {
    const Dims sizes = rank == 2 ? Dims{32, 64} : Dims{64, 32};
    EntriesRequest request(std::vector<LoadEntry>{TensorLoad(
        "weight",
        ContiguousView(memory[rank].data(), DType::kFloat32, sizes))});
    const auto reader = stored.storage.make_reader();
    return Load(request, *reader, *transports[rank], {});
  });
  const RankFailures failures = RequireSameFailures(results);
  CHECK(failures.phase == "plan");
  CHECK(failures.by_rank.size() == 1);
  CHECK(failures.by_rank.count(2) == 1);
  for (const std::string& bytes : memory) {
    CHECK(bytes == std::string(bytes.size(), '?'));
  }
}

TEST_CASE("a request that fails on one rank fails the load on all",
          "[checkpoint]") {
  const Stored stored;
  const auto transports = MakeThreadTransports(2, kRankTimeoutSeconds);
  const auto results = OnRanks<StatusOr<LoadResult>>(2, [&](size_t rank) {
    StatusOr<std::vector<LoadEntry>> entries = std::vector<LoadEntry>();
    if (rank == 1) entries = InvalidArgument("no template");
    EntriesRequest request(entries);
    const auto reader = stored.storage.make_reader();
    return Load(request, *reader, *transports[rank], {});
  });
  CHECK(RequireSameFailures(results).by_rank.count(1) == 1);
}

TEST_CASE("damage that one rank meets fails the load on all, with its name",
          "[checkpoint]") {
  const Stored stored;
  // Half of "weight" lies in each file; rank 1 asks for the second half.
  const std::string path = "/ckpt/__1_0.distcp";
  FlipBit(*stored.fs, path, GetFile(*stored.fs, path).size() / 2, 3);
  std::vector<std::vector<Wanted>> wanted(2);
  for (int64_t rank : {0, 1}) {
    wanted[static_cast<size_t>(rank)] = {
        {.fqn = "weight",
         .box = {.offsets = {32 * rank, 0}, .sizes = {32, 32}}}};
  }
  const auto results = LoadOnRanks(wanted, stored.storage);
  const RankFailures failures = RequireSameFailures(results);
  CHECK(failures.phase == "read");
  CHECK(failures.by_rank.size() == 1);
  REQUIRE(failures.by_rank.count(1) == 1);
  const auto detail = GetErrorDetail(failures.by_rank.at(1));
  REQUIRE(detail.has_value());
  CHECK(detail->fqn == "weight");
  CHECK(detail->path == path);
}

TEST_CASE("an absent checkpoint is not found, on all ranks", "[checkpoint]") {
  const auto storage = NativeStorage(NativePlace{.fs = MakeMemoryFileSystem()});
  std::vector<std::vector<Wanted>> wanted(2);
  const auto results = LoadOnRanks(wanted, storage);
  RequireSameFailures(results);
  CHECK(results[1].status().code() == absl::StatusCode::kNotFound);
}

TEST_CASE("chunks that overlap in the metadata are damage", "[checkpoint]") {
  const Stored stored;
  Metadata metadata = ReadMetadata(*stored.fs);
  auto& weight =
      std::get<TensorStorageMetadata>(*metadata.FindMutable("weight"));
  weight.chunks[0].sizes[0] += 1;
  PutStockMetadata(*stored.fs, metadata);
  const auto loaded =
      LoadEntries(stored, std::vector<LoadEntry>{ObjectLoad("step")});
  CHECK(loaded.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(loaded.status())), Contains("overlap"));
}

TEST_CASE("a hole between chunks is damage for who asks for it",
          "[checkpoint]") {
  const Stored stored;
  Metadata metadata = ReadMetadata(*stored.fs);
  auto& weight =
      std::get<TensorStorageMetadata>(*metadata.FindMutable("weight"));
  weight.chunks.pop_back();
  PutStockMetadata(*stored.fs, metadata);
  std::vector<Wanted> wanted = {
      {.fqn = "weight", .box = {.offsets = {0, 0}, .sizes = {32, 32}}}};
  DCP_CHECK_OK(LoadState(stored.fs, {}, wanted));
  wanted[0].box.sizes[0] = 33;
  std::vector<std::vector<Wanted>> all = {wanted};
  const auto results = LoadOnRanks(all, stored.storage);
  CHECK(results[0].status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("bytes read are counted", "[checkpoint]") {
  const Stored stored;
  std::vector<std::vector<Wanted>> wanted = {AllOf(stored.state)};
  const auto results = LoadOnRanks(wanted, stored.storage);
  RequireAllSucceed(results);
  CHECK(results[0]->nbytes_read > 64 * 32 * 4);
}

}  // namespace
}  // namespace dcp
