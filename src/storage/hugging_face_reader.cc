#include "storage/hugging_face_reader.h"

#include <map>
#include <utility>
#include <vector>

#include "base/wire.h"
#include "storage/dequantizing_sink.h"
#include "storage/environment.h"
#include "storage/tensor_sink.h"

namespace dcp {
namespace {

/// How CheckpointIndex::storage_data of a HuggingFaceReader begins, before the
/// list of quantized tensors and the sidecar. No sidecar does.
constexpr std::string_view kHuggingFaceNotes = "safetensors";

/// Where the bytes of `item` lie: a safetensors file has tensors as they are.
StatusOr<TensorPlace> PlaceOf(const StoredItem& item) {
  TensorPlace place{.data_begin = item.info.offset,
                    .data_nbytes = item.info.length,
                    .image = {.dtype = item.dtype, .sizes = item.sizes}};
  if (item.type != LoadItemType::kTensor ||
      place.image.nbytes() != place.data_nbytes) {
    return ItemCorruption("the item is not the tensor that is asked for", item);
  }
  return place;
}

}  // namespace

class HuggingFaceReader::ReadJob {
 public:
  ReadJob(HuggingFaceReader& reader, OpenFiles& files, ReadTarget& target)
      : reader_(reader), files_(files), target_(target) {}

  Status Run(std::span<const StoredItem> items) {
    for (const StoredItem& item : items) {
      const auto found = reader_.quantized_.find(item.index.fqn);
      DCP_RETURN_IF_ERROR(found == reader_.quantized_.end()
                              ? AddPlain(item)
                              : AddQuantized(item, found->second));
    }
    std::vector<FileExtents> extents;
    extents.reserve(reads_.size());
    for (auto& [file, wanted] : reads_) extents.push_back(std::move(wanted));
    PipelineOptions pipeline = ResolvePipelineOptions(
        reader_.options_.io, reader_.metadata_->storage_data.size());
    pipeline.proceed = [this] { return target_.Proceed(); };
    DCP_ASSIGN_OR_RETURN(const ReadStats stats,
                         ReadExtents(std::move(extents), pipeline));
    reader_.nbytes_read_ += stats.nbytes_cached + stats.nbytes_device;
    return absl::OkStatus();
  }

 private:
  StatusOr<std::vector<Extent>*> ExtentsOf(const StoredItem& item) {
    DCP_ASSIGN_OR_RETURN(OpenFile * file, files_.Get(item));
    FileExtents& reads = reads_[file];
    reads.file = file->file.get();
    reads.file_nbytes = file->nbytes;
    reads.checksums = file->record;
    return &reads.extents;
  }

  Status AddPlain(const StoredItem& item) {
    DCP_ASSIGN_OR_RETURN(std::vector<Extent> * extents, ExtentsOf(item));
    DCP_ASSIGN_OR_RETURN(const TensorPlace place, PlaceOf(item));
    DCP_ASSIGN_OR_RETURN(std::vector<TensorPart> parts,
                         ResolveParts(item, place, target_));
    auto sink = std::make_unique<TensorSink>(item, place, std::move(parts),
                                             TensorSink::CheckCrc::kNo,
                                             *reader_.device_);
    sink->AppendExtents(extents);
    sinks_.push_back(std::move(sink));
    return absl::OkStatus();
  }

  Status AddQuantized(const StoredItem& item, const QuantizedTensor& tensor) {
    DCP_ASSIGN_OR_RETURN(std::vector<Extent> * extents, ExtentsOf(item));
    if (item.info.length * tensor.elements_per_byte() != Numel(item.sizes)) {
      return ItemCorruption("the item is not the tensor that is asked for",
                            item);
    }
    const TensorPlace floats{
        .image = {.dtype = item.dtype, .sizes = item.sizes}};
    DCP_ASSIGN_OR_RETURN(std::vector<TensorPart> parts,
                         ResolveParts(item, floats, target_));
    auto sink = std::make_unique<DequantizingSink>(
        item, tensor, std::move(parts),
        reader_.options_.dequantize.value_or(DequantizeOptions{}).block_size,
        *reader_.device_);
    sink->AppendExtents(extents);
    DCP_RETURN_IF_ERROR(ReadScales(item, tensor, *sink));
    sinks_.push_back(std::move(sink));
    return absl::OkStatus();
  }

  Status ReadScales(const StoredItem& item, const QuantizedTensor& tensor,
                    DequantizingSink& sink) {
    const TensorStorageMetadata* scales =
        reader_.metadata_->FindTensor(tensor.scales);
    const auto& places = reader_.metadata_->storage_data;
    if (scales == nullptr || scales->chunks.empty()) {
      return ItemCorruption("its scales " + tensor.scales + " are gone", item);
    }
    const MetadataIndex index{.fqn = tensor.scales,
                              .offset = scales->chunks[0].offsets};
    const auto place = places.find(index);
    if (place == places.end()) {
      return ItemCorruption("its scales " + tensor.scales + " are nowhere",
                            item);
    }
    DCP_ASSIGN_OR_RETURN(OpenFile * file,
                         files_.Open(place->second.relative_path, index));
    DCP_ASSIGN_OR_RETURN(
        const int64_t nbytes,
        sink.ReadScales(
            {.info = place->second, .dtype = scales->properties.dtype}, *file));
    reader_.nbytes_read_ += nbytes;
    return absl::OkStatus();
  }

  HuggingFaceReader& reader_;
  OpenFiles& files_;
  ReadTarget& target_;
  std::map<OpenFile*, FileExtents> reads_;
  std::vector<std::unique_ptr<ExtentSink>> sinks_;
};

bool IsSafetensors(const CheckpointIndex& index) {
  return index.storage_data.starts_with(kHuggingFaceNotes);
}

StatusOr<HuggingFaceNotes> ParseHuggingFaceNotes(
    std::string_view storage_data) {
  if (!storage_data.starts_with(kHuggingFaceNotes)) {
    return DataLoss("these are no notes of a reader of safetensors files");
  }
  storage_data.remove_prefix(kHuggingFaceNotes.size());
  WireReader in(storage_data, "what is known of safetensors files");
  const std::string_view quantized = in.String();
  const std::string_view sidecar = in.String();
  DCP_RETURN_IF_ERROR(in.Finish());
  HuggingFaceNotes notes;
  DCP_ASSIGN_OR_RETURN(notes.quantized, ParseQuantized(quantized));
  if (sidecar.empty()) return notes;
  DCP_ASSIGN_OR_RETURN(notes.sidecar, ParseSidecar(sidecar));
  return notes;
}

HuggingFaceReader::HuggingFaceReader(HuggingFaceReaderOptions options,
                                     StorageEnvironment environment)
    : options_(std::move(options)),
      file_system_(std::move(environment.file_system)),
      device_(std::move(environment.device_runtime)) {
  options_.path = file_system_->Absolute(options_.path);
}

StatusOr<CheckpointIndex> HuggingFaceReader::ReadIndex() {
  StatusOr<CheckpointIndex> index = ReadDirectory();
  const absl::StatusCode code = index.status().code();
  if (code != absl::StatusCode::kDataLoss &&
      code != absl::StatusCode::kNotFound) {
    return index;
  }
  // Names that were read before a save replaced the checkpoint, and files that
  // were opened after that, do not fit together.
  StatusOr<CheckpointIndex> again = ReadDirectory();
  return again.ok() ? std::move(again) : std::move(index);
}

StatusOr<HuggingFaceCheckpoint> HuggingFaceReader::ReadHeaders() const {
  if (options_.only_file) {
    return ReadHuggingFaceFile(*file_system_, options_.path,
                               *options_.only_file);
  }
  return ReadHuggingFaceDirectory(
      *file_system_, options_.path,
      options_.verify ? SidecarUse::kCheck : SidecarUse::kIgnore);
}

StatusOr<CheckpointIndex> HuggingFaceReader::ReadDirectory() {
  DCP_ASSIGN_OR_RETURN(HuggingFaceCheckpoint checkpoint, ReadHeaders());
  CheckpointIndex index{.metadata = std::move(checkpoint.metadata)};
  if (!checkpoint.sidecar.save_id.empty()) {
    // Tells it from one of the same tensors that replaces it.
    index.metadata.storage_meta =
        StorageMeta{.save_id = checkpoint.sidecar.save_id};
  }
  QuantizedTensors quantized;
  if (options_.dequantize) {
    DCP_ASSIGN_OR_RETURN(quantized,
                         FindQuantized(*options_.dequantize, &index.metadata));
  }
  WireWriter notes;
  notes.PutString(SerializeQuantized(quantized));
  notes.PutString(checkpoint.sidecar.files.empty()
                      ? ""
                      : SerializeSidecar(checkpoint.sidecar));
  index.storage_data = std::string(kHuggingFaceNotes) + std::move(notes).Take();
  return index;
}

StatusOr<CheckpointIndex> HuggingFaceReader::ReadRankIndex(int) {
  return NotFound("safetensors files have no metadata of single ranks (" +
                  options_.path + ")");
}

Status HuggingFaceReader::SetUp(const CheckpointIndex& index,
                                const StorageRole&) {
  files_.reset();
  quantized_.clear();
  sidecar_ = Sidecar();
  if (IsSafetensors(index)) {
    DCP_ASSIGN_OR_RETURN(HuggingFaceNotes notes,
                         ParseHuggingFaceNotes(index.storage_data));
    quantized_ = std::move(notes.quantized);
    sidecar_ = std::move(notes.sidecar);
  } else if (options_.dequantize) {
    return InvalidArgument(
        "the metadata does not say which tensors are quantized: it is not what "
        "this reader has read");
  }
  metadata_ = &index.metadata;
  files_ = std::make_unique<PlannedFiles>(*file_system_, options_.path,
                                          options_.io.direct_io, *metadata_,
                                          sidecar_);
  return absl::OkStatus();
}

Status HuggingFaceReader::OpenData(const LoadPlan& plan) {
  return files_->Open(plan);
}

Status HuggingFaceReader::HoldData() { return files_->Hold(); }

Status HuggingFaceReader::ReadData(const LoadPlan& plan, ReadTarget& target) {
  DCP_RETURN_IF_ERROR(files_->Read(
      plan, [&](std::span<const StoredItem> items, OpenFiles& files) {
        return ReadJob(*this, files, target).Run(items);
      }));
  return CommitTensors(plan, target);
}

std::unique_ptr<StorageReader> MakeHuggingFaceReader(
    HuggingFaceReaderOptions options, StorageEnvironment environment) {
  return std::make_unique<HuggingFaceReader>(
      std::move(options), WithDefaults(std::move(environment)));
}

}  // namespace dcp
