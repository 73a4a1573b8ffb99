// Saves and loads of several ranks, which are threads, for the tests of Save
// and Load.

#ifndef DCP_TESTS_CHECKPOINT_RANK_THREADS_H_
#define DCP_TESTS_CHECKPOINT_RANK_THREADS_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "conformance/storage_driver.h"
#include "dcp/checkpoint.h"

namespace dcp {

/// What one rank holds, and its memory.
class RankEntries {
 public:
  void AddShard(const std::string& fqn, const conformance::StateTensor& tensor,
                const Box& box) {
    memory_.push_back(conformance::BytesOf(tensor, box));
    entries_.push_back(ShardEntry(
        fqn, ContiguousView(memory_.back().data(), tensor.dtype, box.sizes),
        tensor.sizes, box.offsets));
  }
  void AddWhole(const std::string& fqn,
                const conformance::StateTensor& tensor) {
    AddShard(fqn, tensor, WholeBox(tensor.sizes));
    std::get<TensorShard>(entries_.back().value).type = WriteItemType::kTensor;
  }
  void AddLaidOut(const std::string& fqn,
                  const conformance::StateTensor& tensor,
                  const std::shared_ptr<const MeshLayout>& layout) {
    const Box box = *ChunkOf(*layout, tensor.sizes);
    memory_.push_back(conformance::BytesOf(tensor, box));
    entries_.push_back(*LaidOutEntry(
        fqn, ContiguousView(memory_.back().data(), tensor.dtype, box.sizes),
        tensor.sizes, layout));
  }
  void AddObject(const std::string& fqn, const std::string& bytes) {
    entries_.push_back({.fqn = fqn, .value = SerializedObject{bytes}});
  }

  std::span<const SaveEntry> span() const { return entries_; }
  std::vector<SaveEntry>& entries() { return entries_; }

 private:
  std::deque<std::string> memory_;  // stays where it is when it grows
  std::vector<SaveEntry> entries_;
};

/// By rank.
using AllEntries = std::vector<RankEntries>;

/// Every rank holds all of `state`.
inline AllEntries Replicated(const conformance::State& state, int world_size) {
  AllEntries all(static_cast<size_t>(world_size));
  for (RankEntries& rank : all) {
    for (const auto& [fqn, object] : state.objects) rank.AddObject(fqn, object);
    for (const auto& [fqn, tensor] : state.tensors) rank.AddWhole(fqn, tensor);
  }
  return all;
}

/// Tensors are cut along dim 0; rank 0 holds what cannot be cut.
inline AllEntries Sharded(const conformance::State& state, int world_size) {
  AllEntries all(static_cast<size_t>(world_size));
  const auto holdings = conformance::ShardedState(state, world_size);
  for (size_t rank = 0; rank < all.size(); ++rank) {
    for (const WriteItem& item : holdings[rank]) {
      if (item.type == WriteItemType::kByteIo) {
        all[rank].AddObject(item.fqn, state.objects.at(item.fqn));
      } else {
        all[rank].AddShard(item.fqn, state.tensors.at(item.fqn), item.chunk);
      }
    }
  }
  return all;
}

/// Runs `body(rank)` for all ranks at once and returns what each returned.
template <typename Result>
std::vector<Result> OnRanks(size_t world_size,
                            const std::function<Result(size_t rank)>& body) {
  std::vector<std::unique_ptr<Result>> results(world_size);
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < world_size; ++rank) {
    threads.emplace_back(
        [&, rank] { results[rank] = std::make_unique<Result>(body(rank)); });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Result> values;
  for (auto& result : results) values.push_back(std::move(*result));
  return values;
}

inline constexpr double kRankTimeoutSeconds = 60;

/// A save in which every rank has the writer that `storage` makes for it.
inline std::vector<StatusOr<SaveResult>> SaveOnRanks(
    const AllEntries& entries,
    const std::function<std::unique_ptr<StorageWriter>(int rank)>& make_writer,
    const SaveOptions& options = {}) {
  const auto transports = MakeThreadTransports(static_cast<int>(entries.size()),
                                               kRankTimeoutSeconds);
  return OnRanks<StatusOr<SaveResult>>(entries.size(), [&](size_t rank) {
    const auto writer = make_writer(static_cast<int>(rank));
    return Save(entries[rank].span(), *writer, *transports[rank], options);
  });
}

inline std::vector<StatusOr<SaveResult>> SaveOnRanks(
    const AllEntries& entries, const conformance::StorageUnderTest& storage,
    const SaveOptions& options = {}) {
  return SaveOnRanks(
      entries, [&](int) { return storage.make_writer(); }, options);
}

/// Asks for what a test wants.
class WantedRequest final : public LoadRequest {
 public:
  /// `wanted` must outlive it and is filled by the load.
  explicit WantedRequest(std::vector<conformance::Wanted>& wanted)
      : wanted_(wanted) {}

  StatusOr<std::vector<LoadEntry>> MakeEntries(
      const Metadata& metadata) override {
    std::vector<LoadEntry> entries;
    for (conformance::Wanted& want : wanted_) {
      const TensorStorageMetadata* tensor = metadata.FindTensor(want.fqn);
      if (tensor == nullptr) {
        entries.push_back(ObjectLoad(want.fqn));
        continue;
      }
      want.bytes.assign(
          static_cast<size_t>(want.box.numel() * ItemSize(want.dtype)), '?');
      entries.push_back(ShardLoad(
          want.fqn,
          ContiguousView(want.bytes.data(), want.dtype, want.box.sizes),
          tensor->size, want.box.offsets));
    }
    return entries;
  }

  void TakeObjects(const LoadResult& result) {
    for (const LoadedObject& object : result.objects) {
      wanted_[static_cast<size_t>(object.entry)].bytes = object.bytes;
    }
  }

 private:
  std::vector<conformance::Wanted>& wanted_;
};

/// A load in which rank r gets `wanted[r]`.
inline std::vector<StatusOr<LoadResult>> LoadOnRanks(
    std::vector<std::vector<conformance::Wanted>>& wanted,
    const conformance::StorageUnderTest& storage,
    const LoadOptions& options = {}) {
  const auto transports = MakeThreadTransports(static_cast<int>(wanted.size()),
                                               kRankTimeoutSeconds);
  return OnRanks<StatusOr<LoadResult>>(wanted.size(), [&](size_t rank) {
    const auto reader = storage.make_reader();
    WantedRequest request(wanted[rank]);
    auto result = Load(request, *reader, *transports[rank], options);
    if (result.ok()) request.TakeObjects(*result);
    return result;
  });
}

template <typename Result>
void RequireAllSucceed(const std::vector<StatusOr<Result>>& results) {
  for (size_t rank = 0; rank < results.size(); ++rank) {
    INFO("rank " << rank << ": " << Message(results[rank].status()));
    REQUIRE(results[rank].ok());
  }
}

/// Checks that all ranks report the same failures, and returns them.
template <typename Result>
RankFailures RequireSameFailures(const std::vector<StatusOr<Result>>& results) {
  for (size_t rank = 0; rank < results.size(); ++rank) {
    INFO("rank " << rank << ": " << Message(results[rank].status()));
    REQUIRE_FALSE(results[rank].ok());
    REQUIRE(GetRankFailures(results[rank].status()).has_value());
    CHECK(Message(results[rank].status()) == Message(results[0].status()));
  }
  return GetRankFailures(results[0].status()).value_or(RankFailures{});
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_RANK_THREADS_H_
