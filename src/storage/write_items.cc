// 1. The items are taken in waves that the source allows to be resolved at
//    once: all of them for a plain state dict, a few hundred megabytes for a
//    source that makes tensors on demand, what is there for one that is still
//    being staged.
// 2. A wave lays its items out behind what each file holds already, starting
//    where a direct write may begin. The offset and length of every item are
//    known before a byte moves.
// 3. One pipeline run writes the wave's part of every file.

#include "storage/write_items.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/round_up.h"
#include "storage/file_image.h"

namespace dcp {
namespace {

/// The first offset behind what `file` holds where a region may begin: direct
/// writes cannot begin in mid-block; other files have no hole.
int64_t NextRegionBegin(DataFile& file) {
  const auto direct = file.file().direct_io();
  return direct ? RoundUpTo(file.end(), direct->offset) : file.end();
}

/// The part of one file that a wave writes.
struct WaveFile {
  DataFile* file = nullptr;
  int64_t begin = 0;
  int64_t end = 0;
  std::vector<const WriteItem*> planned;
  std::vector<ImageItem> items;
};

/// Hands the pipeline's blocks to the images of the files.
class WaveFiller final : public BlockFiller {
 public:
  void Add(std::vector<ImageItem> items, DeviceRuntime& device,
           BlockChecksums& checksums) {
    images_.push_back(
        std::make_unique<FileImage>(std::move(items), device, checksums));
  }

  Status Fill(const WriteBlock& block, FillMode mode,
              std::span<std::byte> buffer,
              std::vector<IoSlice>* slices) override {
    return images_[block.region]->Fill(block.byte_offset, block.nbytes, mode,
                                       buffer, slices);
  }

  void Cancel() override {
    for (const auto& image : images_) image->Cancel();
  }

 private:
  std::vector<std::unique_ptr<FileImage>> images_;
};

SidecarItem PlaceOf(const ImageItem& item) {
  SidecarItem place{.offset = item.file_offset, .length = item.length};
  if (const auto* tensor = std::get_if<TensorImage>(&item.content)) {
    place.data_offset = tensor->layout.data_offset;
    place.data_nbytes = tensor->layout.data_nbytes;
  }
  return place;
}

/// `item` at `file_offset`: streamed, or resolved.
StatusOr<ImageItem> PlaceItem(const ItemWriter& writer, const WriteItem& item,
                              int64_t file_offset) {
  WriteStream* const stream = writer.source.StreamOf(item);
  if (stream == nullptr) {
    DCP_ASSIGN_OR_RETURN(const WritePayload payload,
                         ResolveItem(writer.source, item));
    return MakeImageItem(payload, writer.options, file_offset);
  }
  TensorImage tensor{
      .spec = {.dtype = item.properties.dtype, .sizes = item.chunk.sizes},
      .stream = stream,
      .item = &item};
  DCP_ASSIGN_OR_RETURN(tensor.layout,
                       LayoutTensorItem(tensor.spec, file_offset));
  return ImageItem{.file_offset = file_offset,
                   .length = tensor.layout.length,
                   .content = std::move(tensor)};
}

Status AddToWave(const ItemWriter& writer, const WriteItem& item,
                 WaveFile* wave) {
  const int64_t offset = AlignItemOffset(wave->end);
  DCP_ASSIGN_OR_RETURN(ImageItem placed, PlaceItem(writer, item, offset));
  wave->end = placed.file_offset + placed.length;
  wave->planned.push_back(&item);
  wave->items.push_back(std::move(placed));
  return absl::OkStatus();
}

/// Bytes of the wave that workers must make before they can write them.
int64_t BytesToCopy(const std::vector<WaveFile>& wave) {
  int64_t nbytes = 0;
  for (const WaveFile& part : wave) {
    for (const ImageItem& item : part.items) {
      const auto* tensor = std::get_if<TensorImage>(&item.content);
      if (tensor == nullptr || !IsStoredAsInMemory(*tensor)) {
        nbytes += item.length;
      }
    }
  }
  return nbytes;
}

/// More than one worker for each file only helps where it has more to do than
/// to write: into the page cache the kernel lets one thread at a time write to
/// a file, and has the others spin.
PipelineOptions OptionsFor(const std::vector<WaveFile>& wave,
                           const IoOptions& io) {
  size_t items = 0;
  for (const WaveFile& part : wave) items += part.items.size();
  PipelineOptions options = ResolvePipelineOptions(io, items);
  int64_t nbytes = 0;
  for (const WaveFile& part : wave) {
    if (part.file->file().direct_io()) return options;
    nbytes += part.end - part.begin;
  }
  if (BytesToCopy(wave) < nbytes / 4) {
    options.workers = static_cast<int>(
        std::min(static_cast<size_t>(options.workers), wave.size()));
  }
  return options;
}

Status WriteWave(const ItemWriter& writer, std::vector<WaveFile> wave) {
  std::vector<FileRegion> regions;
  WaveFiller filler;
  PipelineOptions options = OptionsFor(wave, writer.options.io);
  options.proceed = [&writer] { return writer.source.Proceed(); };
  options.rate = writer.rate;
  options.trace = writer.source.trace();
  for (WaveFile& part : wave) {
    if (writer.file_system.traits().positional_writes &&
        part.file->file().direct_io()) {
      DCP_RETURN_IF_ERROR(part.file->file().Allocate(part.end));
    }
    regions.push_back(
        {.file = part.file->unwatched(), .begin = part.begin, .end = part.end});
    for (size_t i = 0; i < part.items.size(); ++i) {
      part.file->AddItem(*part.planned[i], PlaceOf(part.items[i]));
    }
    filler.Add(std::move(part.items), writer.device, part.file->checksums());
  }
  const WriteOrder order = writer.file_system.traits().positional_writes
                               ? WriteOrder::kAny
                               : WriteOrder::kSequential;
  return RunWritePipeline(regions, order, filler, options);
}

}  // namespace

DType StoredDType(const FileSystemWriterOptions& options, DType dtype) {
  const bool is_float = GetDTypeInfo(dtype).kind == DTypeKind::kFloat;
  return options.export_dtype && is_float ? *options.export_dtype : dtype;
}

StatusOr<WritePayload> ResolveItem(WriteSource& source, const WriteItem& item) {
  DCP_ASSIGN_OR_RETURN(WritePayload payload, source.Resolve(item));
  const auto* view = std::get_if<TensorView>(&payload);
  if (view == nullptr) return payload;
  if (item.type == WriteItemType::kByteIo) {
    return InvalidArgument("the object " + item.fqn +
                           " was planned as bytes and resolved to a tensor");
  }
  if (view->sizes != item.chunk.sizes) {
    return InvalidArgument("the tensor " + item.fqn + " has the shape " +
                           ToString(view->sizes) + " and was planned as " +
                           ToString(item.chunk));
  }
  return payload;
}

StatusOr<ImageItem> MakeImageItem(const WritePayload& payload,
                                  const FileSystemWriterOptions& options,
                                  int64_t file_offset) {
  if (const auto* bytes = std::get_if<std::string_view>(&payload)) {
    return ImageItem{.file_offset = file_offset,
                     .length = static_cast<int64_t>(bytes->size()),
                     .content = *bytes};
  }
  const auto& view = std::get<TensorView>(payload);
  TensorImage tensor{
      .spec = {.dtype = StoredDType(options, view.dtype), .sizes = view.sizes},
      .view = view};
  DCP_ASSIGN_OR_RETURN(tensor.layout,
                       LayoutTensorItem(tensor.spec, file_offset));
  return ImageItem{.file_offset = file_offset,
                   .length = tensor.layout.length,
                   .content = std::move(tensor)};
}

Status WriteItems(const ItemWriter& writer, std::span<const FileItems> work) {
  const int64_t limit = writer.source.max_resolved_nbytes();
  std::vector<WaveFile> wave;
  int64_t nbytes = 0;
  for (const FileItems& file : work) {
    const auto open_part = [&] {
      const int64_t begin = NextRegionBegin(*file.file);
      wave.push_back({.file = file.file, .begin = begin, .end = begin});
    };
    open_part();
    for (const WriteItem* item : file.items) {
      const bool streams = writer.source.StreamOf(*item) != nullptr;
      if (nbytes > 0 && !streams &&
          (nbytes > limit - item->nbytes || !writer.source.JoinsBatch(*item))) {
        DCP_RETURN_IF_ERROR(WriteWave(writer, std::move(wave)));
        writer.source.Release();
        wave.clear();
        nbytes = 0;
        open_part();
      }
      if (!streams) nbytes += item->nbytes;
      DCP_RETURN_IF_ERROR(AddToWave(writer, *item, &wave.back()));
    }
  }
  DCP_RETURN_IF_ERROR(WriteWave(writer, std::move(wave)));
  writer.source.Release();
  return absl::OkStatus();
}

}  // namespace dcp
