// Loads in which ranks of one host read together what several of them need.

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"
#include "testing/direct_file_system.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::AllOf;
using conformance::RandomTensor;
using conformance::State;
using conformance::StateTensor;
using conformance::Wanted;
using testing::DirectFileSystem;
using testing::FaultInjectionFileSystem;
using testing::FsOp;

using AllWanted = std::vector<std::vector<Wanted>>;

constexpr size_t kRanks = 4;

/// 22 MB: tensors of many pieces, small ones between them, and objects.
State ReplicatedState() {
  State state;
  state.tensors["a"] = RandomTensor(1, DType::kFloat32, {1999, 1013});
  state.tensors["b.bias"] = RandomTensor(2, DType::kBFloat16, {77});
  state.tensors["b.weight"] = RandomTensor(3, DType::kInt64, {1001, 999});
  state.tensors["c"] = RandomTensor(4, DType::kUInt8, {6, 1000001});
  state.objects["big"] =
      EncodeObject(ObjectValue(std::string(700000, 'x'))).value();
  state.objects["step"] = conformance::ObjectOf(int64_t{7});
  return state;
}

int64_t NbytesOfData(FileSystem& fs) {
  int64_t nbytes = 0;
  for (const std::string& file : FilesOf(fs, "__")) {
    nbytes += static_cast<int64_t>(GetFile(fs, file).size());
  }
  return nbytes;
}

conformance::StorageUnderTest StorageOn(std::shared_ptr<FileSystem> fs,
                                        int64_t buffers_mib = 32) {
  NativePlace place{.fs = std::move(fs)};
  place.reader.io = ModestIo(IoEngineKind::kThreads);
  place.reader.io.max_buffer_nbytes = buffers_mib << 20;
  return NativeStorage(place);
}

int64_t NbytesRead(const std::vector<StatusOr<LoadResult>>& results) {
  int64_t nbytes = 0;
  for (const auto& result : results) {
    if (result.ok()) nbytes += result->nbytes_read;
  }
  return nbytes;
}

void CheckAll(const State& state, const AllWanted& wanted) {
  for (const auto& mine : wanted) CHECK(AllRight(state, mine));
}

/// A load in which rank r reads from `disks[r]`.
std::vector<StatusOr<LoadResult>> LoadFrom(
    const std::vector<std::shared_ptr<FileSystem>>& disks, AllWanted& wanted) {
  const auto transports =
      MakeThreadTransports(static_cast<int>(disks.size()), kRankTimeoutSeconds);
  return OnRanks<StatusOr<LoadResult>>(disks.size(), [&](size_t rank) {
    const auto reader = StorageOn(disks[rank]).make_reader();
    WantedRequest request(wanted[rank]);
    auto result = Load(request, *reader, *transports[rank], {});
    if (result.ok()) request.TakeObjects(*result);
    return result;
  });
}

TEST_CASE("ranks that want the same read it once, each its share",
          "[checkpoint][pool]") {
  const bool is_stock = GENERATE(false, true);
  INFO("without a sidecar: " << is_stock);
  const State state = ReplicatedState();
  const auto fs = is_stock ? SavedAsStock(state) : Saved(state, {});
  AllWanted wanted(kRanks, AllOf(state));
  const auto results = LoadOnRanks(wanted, StorageOn(fs));
  RequireAllSucceed(results);
  CheckAll(state, wanted);
  const auto stored = static_cast<double>(NbytesOfData(*fs));
  CHECK(static_cast<double>(NbytesRead(results)) <= 1.02 * stored);
  for (const auto& result : results) {
    CHECK(static_cast<double>(result->nbytes_read) <= 0.4 * stored);
  }

  AllWanted again(kRanks, AllOf(state));
  const auto alone = LoadOnRanks(again, StorageOn(fs), {.pool_reads = false});
  RequireAllSucceed(alone);
  CheckAll(state, again);
  CHECK(static_cast<double>(NbytesRead(alone)) >= 3.9 * stored);
}

TEST_CASE("ranks with little memory have none for a pool",
          "[checkpoint][pool]") {
  const State state = ReplicatedState();
  const auto fs = Saved(state, {});
  AllWanted wanted(kRanks, AllOf(state));
  const auto results = LoadOnRanks(wanted, StorageOn(fs, 31));
  RequireAllSucceed(results);
  CHECK(NbytesRead(results) > 3 * NbytesOfData(*fs));
}

TEST_CASE("an item as long as no file is an error of its file, not of memory",
          "[checkpoint][pool]") {
  const State state = ReplicatedState();
  const auto fs = SavedAsStock(state);
  Metadata metadata = ReadMetadata(*fs);
  metadata.storage_data.begin()->second.length = int64_t{1} << 50;
  PutStockMetadata(*fs, metadata);
  AllWanted wanted(kRanks, AllOf(state));
  const RankFailures failures =
      RequireSameFailures(LoadOnRanks(wanted, StorageOn(fs)));
  for (const auto& [rank, failure] : failures.by_rank) {
    CHECK_THAT(std::string(Message(failure)), Contains("the file ends"));
  }
}

TEST_CASE("pieces come past the page cache as well", "[checkpoint][pool]") {
  const State state = ReplicatedState();
  const auto fs = std::make_shared<DirectFileSystem>(Saved(state, {}));
  AllWanted wanted(kRanks, AllOf(state));
  const auto results = LoadOnRanks(wanted, StorageOn(fs));
  RequireAllSucceed(results);
  CheckAll(state, wanted);
  CHECK(static_cast<double>(NbytesRead(results)) <=
        1.02 * static_cast<double>(NbytesOfData(*fs)));
}

TEST_CASE("shards that some ranks share are read once for them",
          "[checkpoint][pool]") {
  State state;
  state.tensors["w"] = RandomTensor(1, DType::kFloat32, {4096, 1024});
  const auto fs = Saved(state, {});
  AllWanted wanted(kRanks);
  for (size_t rank = 0; rank < kRanks; ++rank) {  // two replicas of two halves
    const auto begin = static_cast<int64_t>(rank % 2) * 2048;
    wanted[rank] = {{.fqn = "w",
                     .box = {.offsets = {begin, 0}, .sizes = {2048, 1024}},
                     .dtype = DType::kFloat32}};
  }
  const auto results = LoadOnRanks(wanted, StorageOn(fs));
  RequireAllSucceed(results);
  CheckAll(state, wanted);
  CHECK(NbytesRead(results) <= NbytesOfData(*fs));
}

TEST_CASE("columns of a shared tensor are cut out, cast and laid transposed",
          "[checkpoint][pool]") {
  const bool is_stock = GENERATE(false, true);
  State state;
  state.tensors["w"] = RandomTensor(5, DType::kInt32, {1511, 1409});
  const auto fs = is_stock ? SavedAsStock(state) : Saved(state, {});
  const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
  const StateTensor& tensor = state.tensors["w"];
  std::vector<std::vector<int64_t>> loaded(kRanks);
  const auto results = OnRanks<Status>(kRanks, [&](size_t rank) {
    const auto column = static_cast<int64_t>(rank) * 300;
    loaded[rank].resize(1511 * 400);
    const TensorView view{.data = loaded[rank].data(),
                          .dtype = DType::kInt64,
                          .sizes = {1511, 400},
                          .strides = {1, 1511}};
    std::vector<LoadEntry> entries = {
        ShardLoad("w", view, tensor.sizes, {0, column})};
    class Request final : public LoadRequest {
     public:
      explicit Request(std::vector<LoadEntry>& entries) : entries_(entries) {}
      StatusOr<std::vector<LoadEntry>> MakeEntries(const Metadata&) override {
        return entries_;
      }

     private:
      std::vector<LoadEntry>& entries_;
    } request(entries);
    const auto reader = StorageOn(fs).make_reader();
    return Load(request, *reader, *transports[rank], {}).status();
  });
  const auto* values = reinterpret_cast<const int32_t*>(tensor.bytes.data());
  for (size_t rank = 0; rank < kRanks; ++rank) {
    DCP_CHECK_OK(results[rank]);
    bool is_same = true;
    for (size_t row = 0; row < 1511; ++row) {
      for (size_t i = 0; i < 400; ++i) {
        is_same = is_same && loaded[rank][i * 1511 + row] ==
                                 values[row * 1409 + rank * 300 + i];
      }
    }
    CHECK(is_same);
  }
}

TEST_CASE("damage is the same error on all ranks that need the bytes",
          "[checkpoint][pool]") {
  const bool is_stock = GENERATE(false, true);
  const State state = ReplicatedState();
  const auto fs = is_stock ? SavedAsStock(state) : Saved(state, {});
  FlipBit(*fs, FilesOf(*fs, "__")[0], 3000001, 4);
  AllWanted wanted(kRanks, AllOf(state));
  const auto results = LoadOnRanks(wanted, StorageOn(fs));
  const RankFailures failures = RequireSameFailures(results);
  CHECK(failures.by_rank.size() == kRanks);
  for (const auto& [rank, failure] : failures.by_rank) {
    CHECK(failure.code() == absl::StatusCode::kDataLoss);
    CHECK(Message(failure) == Message(failures.by_rank.at(0)));
    CHECK_THAT(std::string(Message(failure)), Contains("CRC-32"));
  }
}

TEST_CASE("what one rank's disk fails to give, the others read by themselves",
          "[checkpoint][pool]") {
  const State state = ReplicatedState();
  const auto fs = Saved(state, {});
  const auto broken = std::make_shared<FaultInjectionFileSystem>(CopyOf(*fs));
  AllWanted wanted(kRanks, AllOf(state));
  // Its metadata is read by the coordinator, so these are reads of data.
  broken->Restart(
      {.faults = {
           {.op = FsOp::kRead, .duration = testing::FaultDuration::kFromThenOn},
           {.op = FsOp::kReadCached,
            .duration = testing::FaultDuration::kFromThenOn}}});
  const RankFailures failures =
      RequireSameFailures(LoadFrom({fs, fs, broken, fs}, wanted));
  REQUIRE(failures.by_rank.size() == 1);
  CHECK_THAT(std::string(Message(failures.by_rank.at(2))),
             Contains("Input/output error"));
  for (const size_t rank : {0, 1, 3}) {
    for (const Wanted& want : wanted[rank]) {
      if (!state.tensors.contains(want.fqn)) continue;
      INFO("rank " << rank << ", " << want.fqn);
      CHECK((want.bytes == conformance::ExpectedBytes(state, want)));
    }
  }
}

TEST_CASE("ranks whose memory cannot be reached, or that will not, read alone",
          "[checkpoint][pool]") {
  const State state = ReplicatedState();
  const auto fs = Saved(state, {});
  const auto transports = MakeThreadTransports(kRanks, kRankTimeoutSeconds);
  AllWanted wanted(kRanks, AllOf(state));
  const auto results = OnRanks<StatusOr<LoadResult>>(kRanks, [&](size_t rank) {
    const auto reader = StorageOn(fs).make_reader();
    WantedRequest request(wanted[rank]);
    auto result =
        Load(request, *reader, *transports[rank], {.pool_reads = rank != 1});
    if (result.ok()) request.TakeObjects(*result);
    return result;
  });
  RequireAllSucceed(results);
  CheckAll(state, wanted);
  const auto stored = static_cast<double>(NbytesOfData(*fs));
  CHECK(static_cast<double>(results[1]->nbytes_read) >= 0.99 * stored);
  CHECK(static_cast<double>(NbytesRead(results)) <= 2.02 * stored);
}

TEST_CASE("a checkpoint that is replaced while a pool reads loads whole",
          "[checkpoint][pool]") {
  const auto disk = Saved(ReplicatedState(), {});
  const auto fs = std::make_shared<FaultInjectionFileSystem>(disk);
  State other = ReplicatedState();
  other.tensors["a"] = RandomTensor(99, DType::kFloat32, {1999, 1013});
  std::atomic<int> reads{0};
  fs->Restart({.on_call = [&](int64_t, FsOp op, const std::string& path) {
    if (op != FsOp::kRead || !path.ends_with(".distcp")) return;
    if (reads.fetch_add(1) != 2) return;
    // In place, so that those that have it open see it, too.
    const auto files = Saved(other, {});
    for (const std::string& file : FilesOf(*disk, "")) {
      DCP_CHECK_OK(disk->Remove(file));
    }
    for (const std::string& file : FilesOf(*files, "")) {
      PutFile(*disk, file, GetFile(*files, file));
    }
  }});
  AllWanted wanted(kRanks, AllOf(other));
  RequireAllSucceed(LoadFrom({fs, fs, fs, fs}, wanted));
  const bool is_new = AllRight(other, wanted[0]);
  for (const auto& mine : wanted) {
    CHECK(AllRight(is_new ? other : ReplicatedState(), mine));
  }
}

}  // namespace
}  // namespace dcp
