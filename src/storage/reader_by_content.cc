// A reader that looks which format a directory is in.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "dcp/hugging_face_storage.h"
#include "format/file_names.h"
#include "storage/environment.h"
#include "storage/filesystem_reader.h"
#include "storage/hugging_face_directory.h"
#include "storage/hugging_face_reader.h"
#include "storage/pooled_reads.h"

namespace dcp {
namespace {

/// Whether there is metadata of the native format, of all ranks or of one.
bool HasMetadata(std::span<const DirectoryEntry> entries) {
  return std::any_of(entries.begin(), entries.end(),
                     [](const DirectoryEntry& entry) {
                       return entry.name == kMetadataFileName ||
                              ParseRankMetadataFileName(entry.name).has_value();
                     });
}

class ReaderByContent final : public StorageReader,
                              public PoolingReader,
                              public OutlineReader {
 public:
  ReaderByContent(FileSystemReaderOptions options,
                  const StorageEnvironment& environment)
      : path_(environment.file_system->Absolute(options.path)),
        file_system_(environment.file_system),
        hugging_face_(MakeHuggingFaceReader(
            {.path = options.path, .verify = options.verify, .io = options.io},
            environment)),
        native_(std::make_unique<FileSystemReader>(std::move(options),
                                                   environment)) {}

  StatusOr<CheckpointIndex> ReadIndex() override {
    DCP_ASSIGN_OR_RETURN(const bool is_native, IsNative());
    return is_native ? native_->ReadIndex() : hugging_face_->ReadIndex();
  }

  StatusOr<CheckpointOutline> ReadOutline() override {
    DCP_ASSIGN_OR_RETURN(const bool is_native, IsNative());
    if (is_native) return native_->ReadOutline();
    DCP_ASSIGN_OR_RETURN(CheckpointIndex index, hugging_face_->ReadIndex());
    return CheckpointOutline{.index = std::move(index)};
  }

  Status ReadEntries(std::span<const std::string_view> fqns,
                     Metadata* metadata) override {
    return native_->ReadEntries(fqns, metadata);
  }

  StatusOr<CheckpointIndex> ReadIndexWithoutPaths() override {
    DCP_ASSIGN_OR_RETURN(const bool is_native, IsNative());
    return is_native ? native_->ReadIndexWithoutPaths()
                     : hugging_face_->ReadIndex();
  }

  StatusOr<std::optional<BoundIndex>> OpenIndex() override {
    DCP_ASSIGN_OR_RETURN(const bool is_native, IsNative());
    if (is_native) return native_->OpenIndex();
    return std::optional<BoundIndex>();
  }

  StatusOr<CheckpointIndex> ReadRankIndex(int rank) override {
    return native_->ReadRankIndex(rank);
  }

  Status SetUp(const CheckpointIndex& index, const StorageRole& role) override {
    in_use_ = IsSafetensors(index) ? hugging_face_.get() : native_.get();
    return in_use_->SetUp(index, role);
  }

  Status OpenData(const LoadPlan& plan) override {
    return in_use_->OpenData(plan);
  }

  Status HoldData() override { return in_use_->HoldData(); }

  Status ReadData(const LoadPlan& plan, ReadTarget& target) override {
    return in_use_->ReadData(plan, target);
  }

  void ExpectParts() override { in_use_->ExpectParts(); }

  StatusOr<std::string> OfferPool(const LoadPlan& plan) override {
    auto* const pooling = dynamic_cast<PoolingReader*>(in_use_);
    return pooling != nullptr ? pooling->OfferPool(plan) : std::string();
  }

  void JoinPool(std::string_view pool) override {
    if (auto* const pooling = dynamic_cast<PoolingReader*>(in_use_)) {
      pooling->JoinPool(pool);
    }
  }

  void LeavePool() override {
    if (auto* const pooling = dynamic_cast<PoolingReader*>(in_use_)) {
      pooling->LeavePool();
    }
  }

  int64_t nbytes_read() const override {
    return native_->nbytes_read() + hugging_face_->nbytes_read();
  }

 private:
  StatusOr<bool> IsNative() {
    const auto entries = file_system_->List(path_);
    // What is not there, or is no directory, is the native reader's to report.
    if (!entries.ok() || !HasSafetensors(*entries)) return true;
    if (!HasMetadata(*entries)) return false;
    return InvalidArgument(
        path_ +
        " holds a checkpoint in PyTorch's format (.metadata) and safetensors "
        "files, both: say which one to read, in Python by format=\"dcp\" or "
        "format=\"hf\", in C++ by its reader");
  }

  const std::string path_;
  const std::shared_ptr<FileSystem> file_system_;
  const std::unique_ptr<StorageReader> hugging_face_;
  const std::unique_ptr<FileSystemReader> native_;
  StorageReader* in_use_ = nullptr;  // from SetUp on
};

}  // namespace

std::unique_ptr<StorageReader> MakeReaderByContent(
    FileSystemReaderOptions options, StorageEnvironment environment) {
  return std::make_unique<ReaderByContent>(
      std::move(options), WithDefaults(std::move(environment)));
}

}  // namespace dcp
