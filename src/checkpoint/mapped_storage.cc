#include "dcp/mapped_storage.h"

#include <string>
#include <utility>

#include "checkpoint/index_codec.h"
#include "checkpoint/mapped_reader.h"
#include "checkpoint/mapped_writer.h"

namespace dcp {
namespace {

/// A MappedReader for all ranks of a load: what the coordinator gives them has
/// the source's index in it, and each plans the mapping by itself.
class MappedStorageReader final : public StorageReader {
 public:
  MappedStorageReader(std::unique_ptr<StorageReader> source,
                      ModelMapping mapping)
      : source_(std::move(source)),
        mapping_(std::move(mapping)),
        reader_(*source_, mapping_, rename_) {}

  StatusOr<CheckpointIndex> ReadIndex() override {
    DCP_ASSIGN_OR_RETURN(CheckpointIndex mapped, reader_.ReadIndex());
    DCP_ASSIGN_OR_RETURN(planned_, EncodeIndex(reader_.source_index()));
    mapped.storage_data = planned_;
    return mapped;
  }

  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override {
    return reader_.ReadRankIndex(rank);
  }

  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override {
    if (index.storage_data != planned_) {
      DCP_ASSIGN_OR_RETURN(CheckpointIndex source,
                           DecodeIndex(index.storage_data));
      DCP_RETURN_IF_ERROR(reader_.Map(std::move(source)).status());
      planned_ = index.storage_data;
    }
    return reader_.SetUp(index, role);
  }

  Status OpenData(const LoadPlan& plan) override {
    return reader_.OpenData(plan);
  }
  Status HoldData() override { return reader_.HoldData(); }
  Status ReadData(const LoadPlan& plan, ReadTarget& target) override {
    return reader_.ReadData(plan, target);
  }
  void ExpectParts() override { reader_.ExpectParts(); }
  int64_t nbytes_read() const override { return reader_.nbytes_read(); }

 private:
  const std::unique_ptr<StorageReader> source_;
  const ModelMapping mapping_;
  const decltype(ConvertOptions::rename) rename_;
  MappedReader reader_;
  std::string planned_;  // the source's index that reader_ has mapped
};

}  // namespace

std::unique_ptr<StorageWriter> MakeMappedHuggingFaceWriter(
    HuggingFaceWriterOptions options, ModelMapping mapping,
    StorageEnvironment environment) {
  mapping.options.direction = MappingDirection::kToHuggingFace;
  const std::string& stem = mapping.mapping.file_stem();
  if (!stem.empty()) options.file_stem = stem;
  return std::make_unique<MappedWriter>(
      MakeHuggingFaceWriter(std::move(options), std::move(environment)),
      std::move(mapping));
}

std::unique_ptr<StorageReader> MakeMappedHuggingFaceReader(
    HuggingFaceReaderOptions options, ModelMapping mapping,
    StorageEnvironment environment) {
  mapping.options.direction = MappingDirection::kToNative;
  if (mapping.mapping.dequantizes()) {
    mapping.options.is_dequantized = true;
    if (!options.dequantize) options.dequantize = DequantizeOptions();
  }
  return std::make_unique<MappedStorageReader>(
      MakeHuggingFaceReader(std::move(options), std::move(environment)),
      std::move(mapping));
}

}  // namespace dcp
