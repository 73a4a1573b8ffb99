// Reading an archive. Each item that a rank needs is read whole, because one
// checksum covers all of it, and then cut to what is asked for: a storage for
// large tensors would keep a checksum for every mebibyte, as libdcp's own does.

#include <map>
#include <utility>
#include <vector>

#include "archive_file.h"
#include "archive_format.h"
#include "archive_storage.h"
#include "dcp/device_runtime.h"
#include "dcp/metadata_codec.h"
#include "dcp/tensor_copy.h"

namespace examples {
namespace {

/// What ReadIndex passes on to the ranks: the archive that the coordinator
/// read, and the records in it. Text up to the first line feed is the path.
struct IndexNotes {
  std::string path;
  std::vector<ItemRecord> records;

  std::string Encode() const { return path + '\n' + EncodeRecords(records); }
  static dcp::StatusOr<IndexNotes> Decode(std::string_view notes) {
    const size_t end = notes.find('\n');
    if (end == std::string_view::npos) {
      return dcp::InvalidArgument(
          "the index was not read by a reader of archives");
    }
    IndexNotes result{.path = std::string(notes.substr(0, end))};
    DCP_ASSIGN_OR_RETURN(result.records, DecodeRecords(notes.substr(end + 1)));
    return result;
  }
};

dcp::StatusOr<std::string> ReadText(ArchiveFile& file, uint64_t offset,
                                    uint64_t nbytes) {
  std::string text(nbytes, '\0');
  DCP_RETURN_IF_ERROR(
      file.Read(offset, std::as_writable_bytes(std::span(text))));
  return text;
}

class ArchiveReader final : public dcp::StorageReader {
 public:
  explicit ArchiveReader(ArchiveReaderOptions options)
      : options_(std::move(options)), device_(dcp::MakeCudaRuntime()) {}

  dcp::StatusOr<dcp::CheckpointIndex> ReadIndex() override {
    return ReadIndexOf(options_.path);
  }
  dcp::StatusOr<dcp::CheckpointIndex> ReadRankIndex(int rank) override {
    return ReadIndexOf(RankArchivePath(options_.path, rank));
  }

  /// `index` comes from the coordinator's reader; this rank's has seen nothing.
  /// torch's protocol sends the metadata around and no notes.
  dcp::Status SetUp(const dcp::CheckpointIndex& index,
                    const dcp::StorageRole&) override {
    std::string encoded = index.storage_data;
    if (encoded.empty()) {
      DCP_ASSIGN_OR_RETURN(dcp::CheckpointIndex own, ReadIndex());
      encoded = std::move(own.storage_data);
    }
    DCP_ASSIGN_OR_RETURN(IndexNotes notes, IndexNotes::Decode(encoded));
    metadata_ = &index.metadata;
    path_ = std::move(notes.path);
    index_.records = std::move(notes.records);
    return {};
  }

  dcp::Status ReadData(const dcp::LoadPlan& plan,
                       dcp::ReadTarget& target) override;

  int64_t nbytes_read() const override { return nbytes_read_; }

 private:
  using Reads = std::vector<const dcp::ReadItem*>;

  static dcp::StatusOr<dcp::CheckpointIndex> ReadIndexOf(
      const std::string& path);
  dcp::StatusOr<const ItemRecord*> RecordOf(const dcp::MetadataIndex& item);
  dcp::StatusOr<std::string> ReadItem(ArchiveFile& file,
                                      const ItemRecord& record,
                                      const std::string& fqn);
  dcp::Status Deliver(const std::string& bytes, const ItemRecord& record,
                      const Reads& reads, dcp::ReadTarget& target);
  dcp::Status DeliverTensor(const std::string& bytes, const dcp::ReadItem& read,
                            dcp::ReadTarget& target);

  const ArchiveReaderOptions options_;
  const std::shared_ptr<dcp::DeviceRuntime> device_;
  const dcp::Metadata* metadata_ = nullptr;  // the caller's
  std::string path_;
  ArchiveIndex index_;
  int64_t nbytes_read_ = 0;
};

dcp::StatusOr<dcp::CheckpointIndex> ArchiveReader::ReadIndexOf(
    const std::string& path) {
  DCP_ASSIGN_OR_RETURN(ArchiveFile file,
                       ArchiveFile::Open(path, ArchiveFile::Mode::kRead));
  DCP_ASSIGN_OR_RETURN(const uint64_t size, file.Size());
  if (size < sizeof(Trailer)) {
    return dcp::CorruptionError("this is not an archive", {.path = path});
  }
  const uint64_t trailer_offset = size - sizeof(Trailer);
  const auto parsed = [&]() -> dcp::StatusOr<ArchiveIndex> {
    DCP_ASSIGN_OR_RETURN(const std::string last,
                         ReadText(file, trailer_offset, sizeof(Trailer)));
    DCP_ASSIGN_OR_RETURN(const Trailer trailer, ParseTrailer(last, size));
    DCP_ASSIGN_OR_RETURN(const std::string index,
                         ReadText(file, trailer.index_offset,
                                  trailer_offset - trailer.index_offset));
    return ParseIndex(trailer, index);
  }();
  if (!parsed.ok()) return dcp::Annotate(parsed.status(), path);
  DCP_ASSIGN_OR_RETURN(dcp::Metadata metadata,
                       dcp::ParseMetadata(parsed->metadata));
  const IndexNotes notes{.path = path, .records = parsed->records};
  return dcp::CheckpointIndex{.metadata = std::move(metadata),
                              .storage_data = notes.Encode()};
}

dcp::Status ArchiveReader::ReadData(const dcp::LoadPlan& plan,
                                    dcp::ReadTarget& target) {
  // Several parts of one item are read once, and items in the file's order.
  std::map<const ItemRecord*, Reads> wanted;
  for (const dcp::ReadItem& read : plan.items) {
    DCP_ASSIGN_OR_RETURN(const ItemRecord* record,
                         RecordOf(read.storage_index));
    wanted[record].push_back(&read);
  }
  if (wanted.empty()) return {};
  DCP_ASSIGN_OR_RETURN(ArchiveFile file,
                       ArchiveFile::Open(path_, ArchiveFile::Mode::kRead));
  for (const auto& [record, reads] : wanted) {
    DCP_ASSIGN_OR_RETURN(
        const std::string bytes,
        ReadItem(file, *record, reads.front()->storage_index.fqn));
    DCP_RETURN_IF_ERROR(Deliver(bytes, *record, reads, target));
  }
  return {};
}

dcp::StatusOr<const ItemRecord*> ArchiveReader::RecordOf(
    const dcp::MetadataIndex& item) {
  const auto place = metadata_->storage_data.find(item);
  const ItemRecord* record =
      place == metadata_->storage_data.end()
          ? nullptr
          : index_.Find(static_cast<uint64_t>(place->second.offset));
  if (record != nullptr) return record;
  return dcp::DataLoss("the archive " + path_ + " lists " +
                       dcp::ToString(item) + " and does not hold it");
}

dcp::StatusOr<std::string> ArchiveReader::ReadItem(ArchiveFile& file,
                                                   const ItemRecord& record,
                                                   const std::string& fqn) {
  DCP_ASSIGN_OR_RETURN(std::string bytes,
                       ReadText(file, record.offset, record.nbytes));
  nbytes_read_ += static_cast<int64_t>(record.nbytes);
  if (options_.verify &&
      HashBytes(std::as_bytes(std::span(bytes))) != record.hash) {
    return dcp::CorruptionError(
        "stored bytes differ from their checksum",
        {.op = "verify",
         .path = path_,
         .byte_offset = static_cast<int64_t>(record.offset),
         .nbytes = static_cast<int64_t>(record.nbytes),
         .fqn = fqn});
  }
  return bytes;
}

dcp::Status ArchiveReader::Deliver(const std::string& bytes,
                                   const ItemRecord& record, const Reads& reads,
                                   dcp::ReadTarget& target) {
  for (const dcp::ReadItem* read : reads) {
    if (read->type == dcp::LoadItemType::kByteIo) {
      DCP_RETURN_IF_ERROR(target.LoadObject(*read, bytes));
    } else if (record.encoding == ItemEncoding::kTorchSave) {
      // A quantized tensor, say: Python unpacks it.
      DCP_RETURN_IF_ERROR(target.LoadOpaqueTensor(*read, bytes));
    } else {
      DCP_RETURN_IF_ERROR(DeliverTensor(bytes, *read, target));
    }
  }
  return {};
}

dcp::Status ArchiveReader::DeliverTensor(const std::string& bytes,
                                         const dcp::ReadItem& read,
                                         dcp::ReadTarget& target) {
  const dcp::MetadataIndex& index = read.storage_index;
  const dcp::TensorStorageMetadata* tensor = metadata_->FindTensor(index.fqn);
  const auto chunk = static_cast<size_t>(index.index.value_or(0));
  if (tensor == nullptr || chunk >= tensor->chunks.size()) {
    return dcp::DataLoss("the archive's metadata has no " +
                         dcp::ToString(index));
  }
  // A view that is only read from; TensorView has no const of its own.
  const dcp::TensorView stored = dcp::ContiguousView(
      const_cast<char*>(bytes.data()), tensor->properties.dtype,
      tensor->chunks[chunk].sizes);
  if (stored.nbytes() != static_cast<int64_t>(bytes.size())) {
    return dcp::DataLoss("the stored " + dcp::ToString(index) + " has " +
                         std::to_string(bytes.size()) +
                         " bytes, its metadata asks for " +
                         std::to_string(stored.nbytes()));
  }
  DCP_ASSIGN_OR_RETURN(const dcp::TensorView destination,
                       target.ResolveTensor(read));
  const dcp::Box part{.offsets = read.storage_offsets, .sizes = read.lengths};
  DCP_RETURN_IF_ERROR(
      dcp::CopyTensor(dcp::Narrow(stored, part), destination, *device_));
  return target.CommitTensor(read);
}

}  // namespace

std::unique_ptr<dcp::StorageReader> MakeArchiveReader(
    ArchiveReaderOptions options) {
  return std::make_unique<ArchiveReader>(std::move(options));
}

}  // namespace examples
