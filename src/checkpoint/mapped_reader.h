// MappedReader: a checkpoint as a mapping makes it.

#ifndef DCP_CHECKPOINT_MAPPED_READER_H_
#define DCP_CHECKPOINT_MAPPED_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "dcp/convert.h"
#include "dcp/mapping.h"
#include "dcp/plan.h"
#include "dcp/storage.h"

namespace dcp {

/// Reads the tensors of another reader under other names and in another layout,
/// each straight to where it belongs: no memory of its own but for plans.
class MappedReader final : public StorageReader {
 public:
  /// `rename`, of ConvertOptions, gives keys the names that the mapping knows.
  /// All outlive the object.
  MappedReader(StorageReader& source, const ModelMapping& mapping,
               const decltype(ConvertOptions::rename)& rename);

  /// The mapped tensors, each as one chunk; without storage_data.
  /// \error kInvalidArgument  see Mapping::Plan
  /// \error kUnimplemented  a tensor that only torch can decode
  StatusOr<CheckpointIndex> ReadIndex() override;
  /// The same of a source that has `index`, which another rank has read.
  StatusOr<CheckpointIndex> Map(CheckpointIndex index);
  const CheckpointIndex& source_index() const { return index_; }
  /// \error kUnimplemented  always
  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override;
  /// After ReadIndex or Map, whose result `index` is. Reads and compares what a
  /// rule takes for one tensor.
  /// \error kInvalidArgument  the values differ; names the keys
  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override;
  /// Holds the source's: a plan here is read by several of the source.
  Status OpenData(const LoadPlan&) override { return source_.HoldData(); }
  Status HoldData() override { return source_.HoldData(); }
  Status ReadData(const LoadPlan& plan, ReadTarget& target) override;
  void ExpectParts() override { source_.ExpectParts(); }
  int64_t nbytes_read() const override { return source_.nbytes_read(); }

 private:
  /// A tensor of the source that is mapped.
  struct Stored {
    std::string_view fqn;
    const TensorStorageMetadata* tensor = nullptr;
  };
  /// Reads of the source, and the memory for each.
  struct Batch {
    LoadPlan plan;
    std::vector<TensorView> views;
  };

  StatusOr<std::vector<MappingSource>> Sources();
  Status CheckTies();
  Status Add(const MappedRead& read, const TensorView& view, Batch* batch);
  Status Read(Batch* batch, ReadTarget& target);

  StorageReader& source_;
  const ModelMapping& mapping_;
  const decltype(ConvertOptions::rename)& rename_;
  CheckpointIndex index_;  // of the source
  std::vector<Stored> stored_;
  std::vector<MappedTensor> tensors_;
  std::vector<TiedSource> ties_;
  std::unordered_map<std::string, size_t> positions_;  // in tensors_
  size_t finder_source_ = 0;  // what finder_ finds chunks of
  std::unique_ptr<ChunkFinder> finder_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_MAPPED_READER_H_
