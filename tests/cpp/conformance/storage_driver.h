// The calls of one save and one load, in their order, for the storage
// conformance suite. Ranks take turns in one thread: a storage has no way to
// make them wait for each other.

#ifndef DCP_TESTS_CONFORMANCE_STORAGE_DRIVER_H_
#define DCP_TESTS_CONFORMANCE_STORAGE_DRIVER_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "conformance/check_files.h"
#include "conformance/storage_state.h"
#include "dcp/plan.h"
#include "dcp/storage.h"

namespace dcp::conformance {

/// A place for one checkpoint, empty at first.
struct StorageUnderTest {
  std::function<std::unique_ptr<StorageWriter>()> make_writer;
  std::function<std::unique_ptr<StorageReader>()> make_reader;
};

/// The items that each rank holds, by rank.
using Holdings = std::vector<std::vector<WriteItem>>;

/// One rank holds everything whole.
inline Holdings WholeState(const State& state) {
  std::vector<WriteItem> items;
  for (const auto& [fqn, object] : state.objects) {
    items.push_back(ItemOf(fqn, object));
  }
  for (const auto& [fqn, tensor] : state.tensors) {
    items.push_back(ItemOf(fqn, tensor, WholeBox(tensor.sizes)));
  }
  return {items};
}

/// Tensors are cut along dim 0 between the ranks, as torch's chunk() does: the
/// last ones may get nothing. 0-d tensors and objects are rank 0's.
inline Holdings ShardedState(const State& state, int world_size) {
  Holdings holdings(static_cast<size_t>(world_size));
  for (const auto& [fqn, object] : state.objects) {
    holdings[0].push_back(ItemOf(fqn, object));
  }
  for (const auto& [fqn, tensor] : state.tensors) {
    Box box = WholeBox(tensor.sizes);
    if (box.ndim() == 0 || box.numel() == 0) {
      holdings[0].push_back(ItemOf(fqn, tensor, box));
      continue;
    }
    const int64_t rows = tensor.sizes[0];
    const int64_t share = (rows + world_size - 1) / world_size;
    for (int rank = 0; rank < world_size && rank * share < rows; ++rank) {
      box.offsets[0] = rank * share;
      box.sizes[0] = std::min(share, rows - rank * share);
      holdings[static_cast<size_t>(rank)].push_back(ItemOf(fqn, tensor, box));
    }
  }
  return holdings;
}

/// One save. Each step is to be called once, in order; Run does all.
class SaveRun {
 public:
  /// With a new writer for each rank. `state` is borrowed.
  SaveRun(const StorageUnderTest& storage, const State& state,
          Holdings holdings)
      : source_(state), holdings_(std::move(holdings)) {
    for (size_t rank = 0; rank < holdings_.size(); ++rank) {
      writers_.push_back(storage.make_writer());
    }
  }
  /// With writers that may have been used before.
  SaveRun(std::vector<std::shared_ptr<StorageWriter>> writers,
          const State& state, Holdings holdings)
      : source_(state),
        holdings_(std::move(holdings)),
        writers_(std::move(writers)) {}

  SaveRun(const StorageUnderTest& storage, State&& state,
          Holdings holdings) = delete;

  Status Run() {
    DCP_RETURN_IF_ERROR(Plan());
    DCP_RETURN_IF_ERROR(Write());
    return Finish();
  }

  Status Plan() {
    std::vector<SavePlan> local(writers_.size());
    std::vector<std::string> local_notes;
    for (size_t rank = 0; rank < writers_.size(); ++rank) {
      DCP_RETURN_IF_ERROR(writers_[rank]->SetUp(
          {.rank = static_cast<int>(rank),
           .world_size = static_cast<int>(writers_.size()),
           .is_coordinator = rank == 0}));
      local[rank].items = holdings_[rank];
      for (size_t i = 0; i < local[rank].items.size(); ++i) {
        local[rank].items[i].source = static_cast<int64_t>(i);
      }
      DCP_ASSIGN_OR_RETURN(std::string note,
                           writers_[rank]->PrepareLocalPlan(local[rank]));
      local_notes.push_back(std::move(note));
    }
    DCP_ASSIGN_OR_RETURN(plan_, CreateGlobalSavePlan(std::move(local), {}));
    DCP_ASSIGN_OR_RETURN(notes_,
                         writers_[0]->PrepareGlobalPlan(plan_, local_notes));
    if (notes_.size() == writers_.size()) return absl::OkStatus();
    return Internal("PrepareGlobalPlan made notes for " +
                    std::to_string(notes_.size()) + " ranks");
  }

  Status Write() {
    for (size_t rank = 0; rank < writers_.size(); ++rank) {
      DCP_ASSIGN_OR_RETURN(
          WriteOutcome outcome,
          writers_[rank]->WriteData(plan_.plans[rank], notes_[rank], source_));
      outcomes_.push_back(std::move(outcome));
    }
    return absl::OkStatus();
  }

  Status Finish() {
    StatusOr<std::string> published =
        writers_[0]->Finish(plan_.metadata, outcomes_);
    if (published.ok()) published_ = *std::move(published);
    return published.status();
  }

  void Abort() {
    for (const auto& writer : writers_) writer->Abort();
  }

  StateSource& source() { return source_; }
  StorageWriter& writer(size_t rank) { return *writers_[rank]; }
  const GlobalPlan& plan() const { return plan_; }
  const std::vector<WriteOutcome>& outcomes() const { return outcomes_; }
  const std::string& published() const { return published_; }

 private:
  StateSource source_;
  const Holdings holdings_;
  std::vector<std::shared_ptr<StorageWriter>> writers_;
  GlobalPlan plan_;
  std::vector<std::string> notes_;
  std::vector<WriteOutcome> outcomes_;
  std::string published_;
};

/// Everything that `state` holds, whole.
inline std::vector<Wanted> AllOf(const State& state) {
  std::vector<Wanted> wanted;
  for (const auto& [fqn, object] : state.objects)
    wanted.push_back({.fqn = fqn});
  for (const auto& [fqn, tensor] : state.tensors) {
    wanted.push_back(
        {.fqn = fqn, .box = WholeBox(tensor.sizes), .dtype = tensor.dtype});
  }
  return wanted;
}

/// The reads that bring `wanted`, whose memory they fill with '?' before.
inline StatusOr<LoadPlan> PlanReads(const Metadata& metadata,
                                    std::vector<Wanted>& wanted) {
  LoadPlan plan;
  for (size_t i = 0; i < wanted.size(); ++i) {
    Wanted& want = wanted[i];
    const size_t before = plan.items.size();
    const StorageMetadata* stored = metadata.Find(want.fqn);
    if (stored == nullptr) return NotFound("no key " + want.fqn);
    if (const auto* tensor = std::get_if<TensorStorageMetadata>(stored)) {
      want.bytes.assign(
          static_cast<size_t>(want.box.numel() * ItemSize(want.dtype)), '?');
      DCP_RETURN_IF_ERROR(AppendReadItems(want.fqn, ChunkFinder(*tensor),
                                          *tensor, want.box,
                                          static_cast<int64_t>(i), &plan));
    } else {
      plan.items.push_back({.type = LoadItemType::kByteIo,
                            .dest_index = {.fqn = want.fqn},
                            .dest_offsets = {0},
                            .storage_index = {.fqn = want.fqn},
                            .storage_offsets = {0},
                            .lengths = {0},
                            .destination = static_cast<int64_t>(i)});
    }
    want.items = static_cast<int64_t>(plan.items.size() - before);
  }
  return plan;
}

/// A load, from the index to the last byte, into `wanted`.
inline Status LoadInto(StorageReader& reader, std::vector<Wanted>& wanted) {
  DCP_ASSIGN_OR_RETURN(const CheckpointIndex index, reader.ReadIndex());
  DCP_RETURN_IF_ERROR(reader.SetUp(index, {}));
  DCP_ASSIGN_OR_RETURN(const LoadPlan plan, PlanReads(index.metadata, wanted));
  WantedTarget target(wanted);
  return reader.ReadData(plan, target);
}

/// What `wanted` should be, in its own dtype, which is the stored one.
inline std::string ExpectedBytes(const State& state, const Wanted& wanted) {
  const auto object = state.objects.find(wanted.fqn);
  if (object != state.objects.end()) return object->second;
  return BytesOf(state.tensors.at(wanted.fqn), wanted.box);
}

inline void CheckArrived(const State& state,
                         const std::vector<Wanted>& wanted) {
  for (const Wanted& want : wanted) {
    INFO(want.fqn << " " << ToString(want.box));
    CHECK((want.bytes == ExpectedBytes(state, want)));
    CHECK(want.committed == want.items);
  }
}

/// Whether the storage holds `state`, all of it and nothing else.
inline void CheckHolds(const StorageUnderTest& storage, const State& state) {
  const auto reader = storage.make_reader();
  const auto index = reader->ReadIndex();
  DCP_CHECK_OK(index.status());
  if (!index.ok()) return;
  CHECK(index->metadata.entries().size() ==
        state.tensors.size() + state.objects.size());
  std::vector<Wanted> wanted = AllOf(state);
  DCP_CHECK_OK(LoadInto(*reader, wanted));
  CheckArrived(state, wanted);
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_STORAGE_DRIVER_H_
