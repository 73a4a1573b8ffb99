#include "storage/filesystem_reader.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "format/file_names.h"
#include "io/paths.h"
#include "storage/compressed_item.h"
#include "storage/environment.h"
#include "storage/indexed_file.h"
#include "storage/item_places.h"
#include "storage/metadata_reader.h"
#include "storage/stored_item.h"
#include "storage/tensor_sink.h"
#include "storage/whole_item.h"

namespace dcp {
namespace {

// Items up to this size are read whole: finding the data inside would cost
// more reads than it saves bytes.
constexpr int64_t kSmallItem = int64_t{256} << 10;

/// One ReadData call: sorts items by how they are read, then reads.
class ReadJob {
 public:
  ReadJob(const FileSystemReaderOptions& options,
          const PipelineOptions& pipeline, OpenFiles& files, ReadTarget& target,
          DeviceRuntime& device, PartialCrcs* parts, PooledReads* pool)
      : options_(options),
        files_(files),
        parts_(parts),
        pool_(pool),
        pipeline_(pipeline),
        checked_by_sidecar_{
            .target = target, .device = device, .verify = false},
        checked_by_item_{
            .target = target, .device = device, .verify = options.verify} {}

  Status Run(std::span<const StoredItem> items) {
    for (const StoredItem& item : items) DCP_RETURN_IF_ERROR(Sort(item));
    DCP_RETURN_IF_ERROR(ParseUnknownPlaces());
    if (pool_ != nullptr) DCP_RETURN_IF_ERROR(TakeFromPool(items.back().info));
    std::vector<FileExtents> extents;
    extents.reserve(extents_.size());
    for (auto& [file, reads] : extents_) extents.push_back(std::move(reads));
    DCP_ASSIGN_OR_RETURN(const ReadStats stats,
                         ReadExtents(std::move(extents), pipeline_));
    nbytes_read_ += stats.nbytes_cached + stats.nbytes_device;
    for (const auto& item : compressed_)
      nbytes_read_ += item.first->info.length;
    return ReadCompressedItems(compressed_, checked_by_item_, pipeline_);
  }

  int64_t nbytes_read() const { return nbytes_read_; }

 private:
  Status Sort(const StoredItem& item) {
    DCP_ASSIGN_OR_RETURN(OpenFile * file, files_.Get(item));
    if (!item.info.transform_descriptors.empty()) {
      compressed_.emplace_back(&item, file);
      return absl::OkStatus();
    }
    if (item.type == LoadItemType::kTensor) {
      if (const auto place = RecordedPlace(item, *file)) {
        return AddTensor(item, file, *place);
      }
      if (item.info.length > kSmallItem) {
        unknown_.emplace_back(&item, file);
        return absl::OkStatus();
      }
    }
    return AddWhole(item, file);
  }

  /// What others read too, up to the item at `last`.
  Status TakeFromPool(const StorageInfo& last) {
    std::vector<PoolTaking::FilePart> parts;
    parts.reserve(extents_.size());
    for (auto& [file, reads] : extents_) {
      parts.push_back({.name = names_.at(file), .reads = &reads});
    }
    return pool_->Take(parts, last.relative_path, last.offset + last.length);
  }

  FileExtents& ReadsOf(const StoredItem& item, OpenFile* file) {
    names_.emplace(file, item.info.relative_path);
    FileExtents& reads = extents_[file];
    reads.file = file->file.get();
    reads.file_nbytes = file->nbytes;
    reads.checksums = Checksums(file);
    return reads;
  }

  const SidecarFile* Checksums(const OpenFile* file) const {
    return options_.verify ? file->record : nullptr;
  }

  Status AddWhole(const StoredItem& item, OpenFile* file) {
    const DecodeContext& context =
        Checksums(file) != nullptr ? checked_by_sidecar_ : checked_by_item_;
    // Nothing will be read of it that could set off its decoding.
    if (item.info.length == 0) return DecodeItem(item, std::string(), context);
    auto sink = std::make_unique<WholeItemSink>(item, context);
    ReadsOf(item, file).extents.push_back(sink->extent());
    sinks_.push_back(std::move(sink));
    return absl::OkStatus();
  }

  Status AddTensor(const StoredItem& item, OpenFile* file,
                   const TensorPlace& place) {
    DCP_ASSIGN_OR_RETURN(std::vector<TensorPart> parts,
                         ResolveParts(item, place, checked_by_item_.target));
    const bool check = options_.verify && Checksums(file) == nullptr;
    // Rows are read as runs of bytes, each byte once.
    const bool check_later =
        check && parts_ != nullptr &&
        std::is_sorted(place.order.begin(), place.order.end());
    auto sink = std::make_unique<TensorSink>(item, place, std::move(parts),
                                             check && !check_later
                                                 ? TensorSink::CheckCrc::kYes
                                                 : TensorSink::CheckCrc::kNo,
                                             checked_by_item_.device);
    if (check_later) sink->CheckInParts(*parts_);
    sink->AppendExtents(&ReadsOf(item, file).extents);
    sinks_.push_back(std::move(sink));
    return absl::OkStatus();
  }

  Status ParseUnknownPlaces() {
    DCP_ASSIGN_OR_RETURN(const std::vector<TensorItemInfo> parsed,
                         ParseItems(unknown_, pipeline_));
    for (size_t i = 0; i < unknown_.size(); ++i) {
      const auto& [item, file] = unknown_[i];
      const bool check = options_.verify && Checksums(file) == nullptr;
      if (parsed[i].needs_torch || (check && MustBeReadToCheck(parsed[i]))) {
        DCP_RETURN_IF_ERROR(AddWhole(*item, file));
        continue;
      }
      StatusOr<TensorPlace> place = PlaceOfParsedItem(*item, parsed[i]);
      if (!place.ok()) {
        return ItemCorruption(Message(place.status()), *item);
      }
      DCP_RETURN_IF_ERROR(AddTensor(*item, file, *place));
    }
    return absl::OkStatus();
  }

  const FileSystemReaderOptions& options_;
  OpenFiles& files_;
  PartialCrcs* const parts_;  // null: CRCs are checked by each read
  PooledReads* const pool_;   // null: this rank reads alone
  const PipelineOptions pipeline_;
  const DecodeContext checked_by_sidecar_;
  const DecodeContext checked_by_item_;
  std::map<OpenFile*, FileExtents> extents_;
  std::map<OpenFile*, std::string_view> names_;  // of those
  std::vector<std::unique_ptr<ExtentSink>> sinks_;
  std::vector<ItemInFile> unknown_;
  std::vector<ItemInFile> compressed_;
  int64_t nbytes_read_ = 0;
};

}  // namespace

FileSystemReader::FileSystemReader(FileSystemReaderOptions options,
                                   StorageEnvironment environment)
    : options_(std::move(options)),
      file_system_(std::move(environment.file_system)),
      device_(std::move(environment.device_runtime)) {
  options_.path = file_system_->Absolute(options_.path);
}

MetadataReader FileSystemReader::metadata_reader() const {
  return MetadataReader(*file_system_, options_.path, options_.verify);
}

StatusOr<CheckpointIndex> FileSystemReader::ReadIndex() {
  return metadata_reader().ReadWhole(std::string(kMetadataFileName));
}

StatusOr<CheckpointIndex> FileSystemReader::ReadRankIndex(int rank) {
  return metadata_reader().ReadWhole(RankMetadataFileName(rank));
}

StatusOr<CheckpointOutline> FileSystemReader::ReadOutline() {
  return metadata_reader().ReadOutline();
}

Status FileSystemReader::ReadEntries(std::span<const std::string_view> fqns,
                                     Metadata* metadata) {
  DCP_ASSIGN_OR_RETURN(const IndexedMetadata indexed,
                       OpenIndexedFile(*file_system_, options_.path, sidecar_));
  for (const std::string_view fqn : fqns) {
    DCP_RETURN_IF_ERROR(
        Annotate(indexed.ReadEntry(fqn, metadata), options_.path));
  }
  return absl::OkStatus();
}

StatusOr<CheckpointIndex> FileSystemReader::ReadIndexWithoutPaths() {
  return metadata_reader().ReadWithoutPaths();
}

StatusOr<std::optional<BoundIndex>> FileSystemReader::OpenIndex() {
  return metadata_reader().OpenIndex();
}

Status FileSystemReader::SetUp(const CheckpointIndex& index,
                               const StorageRole&) {
  pool_.reset();
  files_.reset();
  parts_.reset();
  metadata_ = &index.metadata;
  sidecar_ = Sidecar();
  if (!index.storage_data.empty()) {
    DCP_ASSIGN_OR_RETURN(sidecar_, ParseSidecar(index.storage_data));
  }
  files_ = std::make_unique<PlannedFiles>(*file_system_, options_.path,
                                          options_.io.direct_io, *metadata_,
                                          sidecar_);
  return absl::OkStatus();
}

Status FileSystemReader::OpenData(const LoadPlan& plan) {
  return files_->Open(plan);
}

Status FileSystemReader::HoldData() { return files_->Hold(); }

StatusOr<std::string> FileSystemReader::OfferPool(const LoadPlan& plan) {
  // Without checks a rank reads no more than it wants.
  if (!options_.verify) return std::string();
  DCP_ASSIGN_OR_RETURN(const std::vector<LocatedRead> reads,
                       LocateReads(plan, *metadata_, options_.path));
  const PoolNeeds needs = FindPoolNeeds(
      reads, *metadata_, sidecar_,
      [this](const std::string& name) { return files_->NbytesOfOpen(name); });
  pool_ = PooledReads::Make(needs, options_.path, options_.io);
  return pool_ ? pool_->offer() : std::string();
}

void FileSystemReader::JoinPool(std::string_view pool) {
  if (pool.empty()) pool_.reset();
  if (pool_) pool_->Join(pool);
}

Status FileSystemReader::ReadData(const LoadPlan& plan, ReadTarget& target) {
  const Status read = Guarded([&] { return ReadItems(plan, target); });
  if (!read.ok()) pool_.reset();  // the others need not wait for this rank
  DCP_RETURN_IF_ERROR(read);
  return CommitTensors(plan, target);
}

Status FileSystemReader::ReadItems(const LoadPlan& plan, ReadTarget& target) {
  PooledReads* const pool =
      pool_ && pool_->has_pieces() ? pool_.get() : nullptr;
  IoOptions io = options_.io;
  if (pool != nullptr) io.max_buffer_nbytes /= 2;
  PipelineOptions pipeline =
      ResolvePipelineOptions(io, metadata_->storage_data.size());
  pipeline.proceed = [&target] { return target.Proceed(); };
  if (pool != nullptr) {
    pool->Start(pipeline, [this] { return files_->MakeOpenFiles(); });
  }
  DCP_RETURN_IF_ERROR(files_->Read(
      plan, [&](std::span<const StoredItem> items, OpenFiles& files) {
        ReadJob job(options_, pipeline, files, target, *device_, parts_.get(),
                    pool);
        Status done = job.Run(items);
        nbytes_read_ += job.nbytes_read();
        return done;
      }));
  if (pool == nullptr) return absl::OkStatus();
  DCP_RETURN_IF_ERROR(pool->Finish(pipeline.proceed));
  nbytes_read_ += pool->nbytes_read();
  return absl::OkStatus();
}

std::unique_ptr<StorageReader> MakeFileSystemReader(
    FileSystemReaderOptions options, StorageEnvironment environment) {
  return std::make_unique<FileSystemReader>(
      std::move(options), WithDefaults(std::move(environment)));
}

}  // namespace dcp
