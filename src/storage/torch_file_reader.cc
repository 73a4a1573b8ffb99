// How tensors are read:
// 1. One whose elements fill a run of its storage, in whatever order, is read
//    as items of the native format are: the runs of what is wanted, many at
//    once, straight into place where that is possible.
// 2. Another one (a view with gaps, an expanded tensor) is read by
// GappedTensor.
// 3. A CRC-32 covers a storage. Where the reads of a tensor will be all of its
//    storage, once, they are put together; elsewhere the storage is read first.

#include "storage/torch_file_reader.h"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "base/cast.h"
#include "base/checksum.h"
#include "staging/pipeline_options.h"
#include "storage/environment.h"
#include "storage/file_item_source.h"
#include "storage/gapped_tensor.h"
#include "storage/planned_files.h"
#include "storage/tensor_sink.h"

namespace dcp {
namespace {

/// Read at once of a storage that is checked.
constexpr int64_t kStepNbytes = int64_t{16} << 20;

}  // namespace

class TorchFileReader::ReadJob {
 public:
  ReadJob(TorchFileReader& reader, ReadTarget& target)
      : reader_(reader), target_(target) {}

  Status Run(const LoadPlan& plan) {
    for (const ReadItem& read : plan.items) {
      DCP_RETURN_IF_ERROR(target_.Proceed());
      DCP_RETURN_IF_ERROR(read.type == LoadItemType::kTensor ? AddTensor(read)
                                                             : Deliver(read));
    }
    PipelineOptions pipeline =
        ResolvePipelineOptions(reader_.options_.io, plan.items.size());
    pipeline.proceed = [this] { return target_.Proceed(); };
    std::vector<FileExtents> reads;
    reads.push_back({.file = reader_.file_.get(),
                     .file_nbytes = reader_.file_nbytes_,
                     .extents = std::move(extents_)});
    DCP_ASSIGN_OR_RETURN(const ReadStats stats,
                         ReadExtents(std::move(reads), pipeline));
    reader_.nbytes_read_ += stats.nbytes_cached + stats.nbytes_device;
    return absl::OkStatus();
  }

 private:
  Status Deliver(const ReadItem& read) {
    const auto found = reader_.objects_.find(read.storage_index.fqn);
    if (found != reader_.objects_.end()) {
      return target_.LoadObject(read, found->second->item);
    }
    return KeyNotFound(
        read.storage_index.fqn,
        "no object " + read.storage_index.fqn + " in " + reader_.path_);
  }

  Status AddTensor(const ReadItem& read) {
    const auto found = reader_.tensors_.find(read.storage_index.fqn);
    if (found == reader_.tensors_.end()) {
      return KeyNotFound(
          read.storage_index.fqn,
          "no tensor " + read.storage_index.fqn + " in " + reader_.path_);
    }
    const TensorPickle& tensor = found->second->tensor;
    if (Numel(tensor.sizes) == 0) return absl::OkStatus();
    const auto order = DenseOrder(tensor.sizes, tensor.strides);
    if (!order) return ReadWithGaps(read, *found->second);
    return AddDense(read, *found->second, *order);
  }

  StoredItem& AddItem(const ReadItem& read, const TensorPickle& tensor) {
    const TorchStorage& storage =
        reader_.contents_.storages.at(tensor.storage_key);
    items_.push_back({.index = read.storage_index,
                      .directory = reader_.directory_,
                      .info = {.relative_path = reader_.name_,
                               .offset = storage.offset,
                               .length = storage.nbytes},
                      .sizes = tensor.sizes,
                      .dtype = tensor.dtype,
                      .reads = {&read}});
    return items_.back();
  }

  Status AddDense(const ReadItem& read, const TorchFileTensor& source,
                  const std::vector<int>& order) {
    const TensorPickle& tensor = source.tensor;
    const TorchStorage& storage =
        reader_.contents_.storages.at(tensor.storage_key);
    const StoredItem& item = AddItem(read, tensor);
    const TensorPlace place{
        .data_begin =
            storage.offset + tensor.storage_offset * ItemSize(tensor.dtype),
        .data_nbytes = Numel(tensor.sizes) * ItemSize(tensor.dtype),
        .image = {.dtype = tensor.dtype, .sizes = Permute(tensor.sizes, order)},
        .order = order,
        .op = OpOf(tensor),
        .crc32 = storage.crc32};
    const bool covers = place.data_nbytes == storage.nbytes;
    const bool in_parts = reader_.expects_parts_ && covers &&
                          std::is_sorted(order.begin(), order.end());
    if (!in_parts) DCP_RETURN_IF_ERROR(reader_.CheckStorage(source));
    DCP_ASSIGN_OR_RETURN(std::vector<TensorPart> parts,
                         ResolveParts(item, place, target_));
    auto sink = std::make_unique<TensorSink>(item, place, std::move(parts),
                                             TensorSink::CheckCrc::kNo,
                                             *reader_.device_);
    if (in_parts && reader_.options_.verify) {
      sink->CheckInParts(reader_.parts_);
    }
    sink->AppendExtents(&extents_);
    sinks_.push_back(std::move(sink));
    return absl::OkStatus();
  }

  Status ReadWithGaps(const ReadItem& read, const TorchFileTensor& source) {
    DCP_RETURN_IF_ERROR(reader_.CheckStorage(source));
    DCP_ASSIGN_OR_RETURN(const TensorView destination,
                         target_.ResolveTensor(read));
    if (destination.device.type != DeviceType::kCpu ||
        destination.sizes != read.lengths ||
        !CanCast(source.tensor.dtype, destination.dtype)) {
      return InvalidArgument("the destination of " + source.fqn +
                             " is on a device, or of another shape or kind");
    }
    GappedTensor gapped(
        *reader_.file_,
        reader_.contents_.storages.at(source.tensor.storage_key).offset,
        source.tensor, [this] { return target_.Proceed(); });
    const Status done = gapped.Read(
        {.offsets = read.storage_offsets, .sizes = read.lengths}, destination);
    reader_.nbytes_read_ += gapped.nbytes_read();
    return done;
  }

  TorchFileReader& reader_;
  ReadTarget& target_;
  std::deque<StoredItem> items_;  // which the sinks refer to
  std::vector<std::unique_ptr<ExtentSink>> sinks_;
  std::vector<Extent> extents_;
};

TorchFileReader::TorchFileReader(TorchFileReaderOptions options,
                                 StorageEnvironment environment)
    : options_(std::move(options)),
      path_(environment.file_system->Absolute(options_.path)),
      file_system_(std::move(environment.file_system)),
      device_(std::move(environment.device_runtime)) {
  const size_t slash = path_.rfind('/');
  directory_ = slash == std::string::npos ? "." : path_.substr(0, slash);
  name_ = path_.substr(slash == std::string::npos ? 0 : slash + 1);
}

Status TorchFileReader::Open() {
  tensors_.clear();
  objects_.clear();
  checked_.clear();
  DCP_ASSIGN_OR_RETURN(
      file_, file_system_->Open(path_, {.direct_io = options_.io.direct_io}));
  DCP_ASSIGN_OR_RETURN(file_nbytes_, file_->Size());
  FileItemSource source(*file_);
  StatusOr<TorchFileContents> contents = ReadTorchFile(source, file_nbytes_);
  if (contents.status().code() == absl::StatusCode::kDataLoss) {
    return CorruptionError(Message(contents.status()),
                           {.op = "read", .path = path_});
  }
  DCP_RETURN_IF_ERROR(Annotate(contents.status(), path_));
  contents_ = *std::move(contents);
  for (const TorchFileTensor& tensor : contents_.tensors) {
    tensors_.emplace(tensor.fqn, &tensor);
  }
  for (const TorchFileObject& object : contents_.objects) {
    objects_.emplace(object.fqn, &object);
  }
  return absl::OkStatus();
}

StatusOr<CheckpointIndex> TorchFileReader::ReadIndex() {
  DCP_RETURN_IF_ERROR(Open());
  return MakeIndex();
}

CheckpointIndex TorchFileReader::MakeIndex() const {
  CheckpointIndex index;
  Metadata& metadata = index.metadata;
  metadata.Reserve(contents_.order.size());
  metadata.planner_data.emplace();
  for (const int64_t place : contents_.order) {
    if (place < 0) {
      const auto& object = contents_.objects[static_cast<size_t>(-1 - place)];
      metadata.Add(object.fqn, BytesStorageMetadata{});
      metadata.planner_data->emplace(object.fqn, object.path);
      metadata.storage_data.emplace(
          MetadataIndex{.fqn = object.fqn},
          StorageInfo{.relative_path = name_,
                      .length = static_cast<int64_t>(object.item.size())});
      continue;
    }
    const auto& tensor = contents_.tensors[static_cast<size_t>(place)];
    const TensorPickle& stored = tensor.tensor;
    const Box whole = WholeBox(stored.sizes);
    metadata.Add(tensor.fqn,
                 TensorStorageMetadata{
                     .properties = {.dtype = stored.dtype,
                                    .requires_grad = stored.requires_grad},
                     .size = stored.sizes,
                     .chunks = {whole}});
    metadata.planner_data->emplace(tensor.fqn, tensor.path);
    const TorchStorage& storage = contents_.storages.at(stored.storage_key);
    metadata.storage_data.emplace(
        MetadataIndex{.fqn = tensor.fqn, .offset = whole.offsets, .index = 0},
        StorageInfo{.relative_path = name_,
                    .offset = storage.offset,
                    .length = storage.nbytes});
  }
  return index;
}

StatusOr<CheckpointIndex> TorchFileReader::ReadRankIndex(int) {
  return NotFound("a torch file has no metadata of single ranks (" + path_ +
                  ")");
}

Status TorchFileReader::SetUp(const CheckpointIndex&, const StorageRole&) {
  expects_parts_ = false;
  return file_ == nullptr ? Open() : absl::OkStatus();
}

Status TorchFileReader::ReadData(const LoadPlan& plan, ReadTarget& target) {
  DCP_RETURN_IF_ERROR(ReadJob(*this, target).Run(plan));
  return CommitTensors(plan, target);
}

Status TorchFileReader::CheckStorage(const TorchFileTensor& tensor) {
  const std::string& key = tensor.tensor.storage_key;
  const TorchStorage& storage = contents_.storages.at(key);
  if (!options_.verify || storage.crc32 == 0 || checked_.contains(key)) {
    return absl::OkStatus();
  }
  std::vector<std::byte> buffer(
      static_cast<size_t>(std::min(kStepNbytes, storage.nbytes)));
  uint32_t crc = 0;
  for (int64_t done = 0; done < storage.nbytes;) {
    const auto nbytes = std::min(kStepNbytes, storage.nbytes - done);
    const IoSlice slice{buffer.data(), static_cast<size_t>(nbytes)};
    DCP_RETURN_IF_ERROR(file_->ReadFully(storage.offset + done, {&slice, 1}));
    crc = Crc32(crc, std::span(buffer).first(slice.nbytes));
    done += nbytes;
  }
  nbytes_read_ += storage.nbytes;
  if (crc != storage.crc32) {
    return CorruptionError("the storage differs from its recorded CRC-32",
                           {.op = "verify",
                            .path = path_,
                            .byte_offset = storage.offset,
                            .nbytes = storage.nbytes,
                            .fqn = tensor.fqn});
  }
  checked_.insert(key);
  return absl::OkStatus();
}

std::unique_ptr<StorageReader> MakeTorchFileReader(
    TorchFileReaderOptions options, StorageEnvironment environment) {
  return std::make_unique<TorchFileReader>(
      std::move(options), WithDefaults(std::move(environment)));
}

}  // namespace dcp
