// How several ranks write one file, and how it becomes a checkpoint at once:
// 1. All plans are known before a byte is written, and with them every item's
//    length. The coordinator gives each rank a stretch of the file
//    (PrepareGlobalPlan), makes the file under a temporary name, and tells the
//    ranks that name and where their stretch begins.
// 2. Each rank writes its items there and makes them durable (WriteData). The
//    lengths, places and checksums travel to the coordinator with the outcome.
// 3. The coordinator appends the index, makes it durable, and renames the file
//    to its final name (Finish): readers see the former archive up to that
//    moment and the new one from then on.
// Before the rename, Abort removes the temporary file; after it, never.

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <random>
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

/// Where the item behind one of `nbytes` at `offset` lies. Even an item of no
/// bytes takes a place: items are told apart by their offsets.
uint64_t OffsetAfter(uint64_t offset, uint64_t nbytes) {
  const uint64_t end = offset + std::max<uint64_t>(nbytes, 1);
  return (end + kItemAlignment - 1) / kItemAlignment * kItemAlignment;
}

std::string RandomName() {
  std::random_device random;
  std::string name;
  for (int i = 0; i < 4; ++i) {
    char digits[9];
    std::snprintf(digits, sizeof digits, "%08x", random());
    name += digits;
  }
  return name;
}

/// What the coordinator tells a rank: "<first byte of its stretch> <file>".
struct Assignment {
  uint64_t begin = 0;
  std::string path;

  std::string Encode() const { return std::to_string(begin) + " " + path; }
  static dcp::StatusOr<Assignment> Decode(std::string_view notes) {
    Assignment result;
    const char* end = notes.data() + notes.size();
    const auto parsed = std::from_chars(notes.data(), end, result.begin);
    if (parsed.ec != std::errc() || parsed.ptr == end) {
      return dcp::Internal("the archive's notes for this rank are garbled");
    }
    result.path.assign(parsed.ptr + 1, end);
    return result;
  }
};

class ArchiveWriter final : public dcp::StorageWriter {
 public:
  explicit ArchiveWriter(ArchiveWriterOptions options)
      : options_(std::move(options)), device_(dcp::MakeCudaRuntime()) {
    if (options_.checkpoint_id.empty()) options_.checkpoint_id = options_.path;
  }

  dcp::Status SetUp(const dcp::StorageRole& role) override {
    // A writer may serve one save after another: nothing of the last remains.
    path_ = role.use_collectives ? options_.path
                                 : RankArchivePath(options_.path, role.rank);
    temporary_.clear();
    commit_attempted_ = false;
    save_id_ = options_.save_id.empty() ? RandomName() : options_.save_id;
    const bool decides = role.is_coordinator || !role.use_collectives;
    if (decides && !options_.overwrite && FileExists(path_)) {
      return dcp::MakeStatus(
          absl::StatusCode::kAlreadyExists,
          "the archive " + path_ + " exists, and overwrite is off");
    }
    return {};
  }

  /// The plan has all that the coordinator must know.
  dcp::StatusOr<std::string> PrepareLocalPlan(const dcp::SavePlan&) override {
    return std::string();
  }

  dcp::StatusOr<std::vector<std::string>> PrepareGlobalPlan(
      const dcp::GlobalPlan& plan,
      std::span<const std::string> /*local_notes*/) override;
  dcp::StatusOr<dcp::WriteOutcome> WriteData(const dcp::SavePlan& plan,
                                             std::string_view notes,
                                             dcp::WriteSource& source) override;
  dcp::StatusOr<std::string> Finish(
      dcp::Metadata metadata, std::vector<dcp::WriteOutcome> outcomes) override;

  bool commit_attempted() const override { return commit_attempted_; }

  void Abort() override {
    if (!temporary_.empty() && !commit_attempted_) RemoveFile(temporary_);
    temporary_.clear();
  }

  dcp::StorageMeta storage_meta() const override {
    return {.checkpoint_id = options_.checkpoint_id, .save_id = save_id_};
  }

  dcp::DType StoredDType(dcp::DType dtype) const override {
    const bool is_float =
        dcp::GetDTypeInfo(dtype).kind == dcp::DTypeKind::kFloat;
    return is_float ? options_.export_dtype.value_or(dtype) : dtype;
  }

 private:
  /// The bytes to store; they lie in the payload, or in `buffer`.
  dcp::StatusOr<std::span<const std::byte>> BytesOf(
      const dcp::WriteItem& item, const dcp::WritePayload& payload,
      std::vector<std::byte>& buffer);
  dcp::StatusOr<ItemRecord> WriteItem(ArchiveFile& file, uint64_t offset,
                                      const dcp::WriteItem& item,
                                      dcp::WriteSource& source);
  dcp::StatusOr<std::string> AppendIndex(
      dcp::Metadata metadata, std::span<const dcp::WriteOutcome> outcomes);

  ArchiveWriterOptions options_;
  const std::shared_ptr<dcp::DeviceRuntime> device_;
  std::string path_;
  std::string temporary_;  // empty as long as this save has made none
  std::string save_id_;
  bool commit_attempted_ = false;
};

dcp::StatusOr<std::vector<std::string>> ArchiveWriter::PrepareGlobalPlan(
    const dcp::GlobalPlan& plan, std::span<const std::string>) {
  Assignment next{.begin = kItemAlignment,
                  .path = path_ + "." + save_id_ + ".tmp"};
  std::vector<std::string> notes;
  for (const dcp::SavePlan& rank : plan.plans) {
    notes.push_back(next.Encode());
    for (const dcp::WriteItem& item : rank.items) {
      next.begin = OffsetAfter(next.begin, static_cast<uint64_t>(item.nbytes));
    }
  }
  DCP_ASSIGN_OR_RETURN(
      ArchiveFile file,
      ArchiveFile::Open(next.path, ArchiveFile::Mode::kCreateNew));
  temporary_ = next.path;
  // A full disk is better noticed now than after an hour of writing.
  DCP_RETURN_IF_ERROR(file.Allocate(next.begin));
  DCP_RETURN_IF_ERROR(
      file.Write(0, std::as_bytes(std::span(kArchiveHead).first(8))));
  DCP_RETURN_IF_ERROR(file.Close());
  return notes;
}

dcp::StatusOr<dcp::WriteOutcome> ArchiveWriter::WriteData(
    const dcp::SavePlan& plan, std::string_view notes,
    dcp::WriteSource& source) {
  DCP_ASSIGN_OR_RETURN(const Assignment mine, Assignment::Decode(notes));
  DCP_ASSIGN_OR_RETURN(ArchiveFile file,
                       ArchiveFile::Open(mine.path, ArchiveFile::Mode::kWrite));
  temporary_ = mine.path;
  dcp::WriteOutcome outcome;
  std::vector<ItemRecord> records;
  uint64_t offset = mine.begin;
  for (const dcp::WriteItem& item : plan.items) {
    DCP_ASSIGN_OR_RETURN(const ItemRecord record,
                         WriteItem(file, offset, item, source));
    // Whatever the source made for this item it may now give up.
    source.Release();
    records.push_back(record);
    outcome.results.push_back(
        {.index = item.index(),
         .size_in_bytes = item.nbytes,
         .storage_info = {.relative_path = options_.path.substr(
                              options_.path.rfind('/') + 1),
                          .offset = static_cast<int64_t>(offset),
                          .length = item.nbytes}});
    offset = OffsetAfter(offset, record.nbytes);
  }
  if (options_.sync) DCP_RETURN_IF_ERROR(file.Sync());
  DCP_RETURN_IF_ERROR(file.Close());
  outcome.storage_data = EncodeRecords(records);
  return outcome;
}

dcp::StatusOr<ItemRecord> ArchiveWriter::WriteItem(ArchiveFile& file,
                                                   uint64_t offset,
                                                   const dcp::WriteItem& item,
                                                   dcp::WriteSource& source) {
  DCP_ASSIGN_OR_RETURN(const dcp::WritePayload payload, source.Resolve(item));
  std::vector<std::byte> buffer;
  DCP_ASSIGN_OR_RETURN(const auto bytes, BytesOf(item, payload, buffer));
  // The next item's place was chosen by the planned length.
  if (bytes.size() != static_cast<size_t>(item.nbytes)) {
    return dcp::Internal(item.fqn + " has " + std::to_string(bytes.size()) +
                         " bytes, planned were " + std::to_string(item.nbytes));
  }
  DCP_RETURN_IF_ERROR(file.Write(offset, bytes));
  const bool is_tensor = std::holds_alternative<dcp::TensorView>(payload);
  return ItemRecord{.offset = offset,
                    .nbytes = bytes.size(),
                    .hash = HashBytes(bytes),
                    .encoding = is_tensor ? ItemEncoding::kElements
                                          : ItemEncoding::kTorchSave};
}

dcp::StatusOr<std::span<const std::byte>> ArchiveWriter::BytesOf(
    const dcp::WriteItem& item, const dcp::WritePayload& payload,
    std::vector<std::byte>& buffer) {
  if (const auto* text = std::get_if<std::string_view>(&payload)) {
    return std::as_bytes(std::span(text->data(), text->size()));
  }
  const auto& view = std::get<dcp::TensorView>(payload);
  const dcp::DType stored = item.properties.dtype;
  const bool lies_as_stored = view.is_contiguous() && view.dtype == stored &&
                              view.device.type == dcp::DeviceType::kCpu;
  if (lies_as_stored) {
    return std::span(static_cast<const std::byte*>(view.data),
                     static_cast<size_t>(view.nbytes()));
  }
  buffer.resize(static_cast<size_t>(view.numel() * dcp::ItemSize(stored)));
  DCP_RETURN_IF_ERROR(dcp::CopyTensor(
      view, dcp::ContiguousView(buffer.data(), stored, view.sizes), *device_));
  return std::span<const std::byte>(buffer);
}

dcp::StatusOr<std::string> ArchiveWriter::Finish(
    dcp::Metadata metadata, std::vector<dcp::WriteOutcome> outcomes) {
  DCP_ASSIGN_OR_RETURN(std::string pickle,
                       AppendIndex(std::move(metadata), outcomes));
  // From here on nobody can say which archive readers see, should this fail.
  commit_attempted_ = true;
  DCP_RETURN_IF_ERROR(RenameFile(
      temporary_, path_, options_.sync ? NameSync::kYes : NameSync::kNo));
  return pickle;
}

dcp::StatusOr<std::string> ArchiveWriter::AppendIndex(
    dcp::Metadata metadata, std::span<const dcp::WriteOutcome> outcomes) {
  std::vector<ItemRecord> records;
  uint64_t end = kItemAlignment;
  for (const dcp::WriteOutcome& outcome : outcomes) {
    DCP_ASSIGN_OR_RETURN(const auto of_rank,
                         DecodeRecords(outcome.storage_data));
    records.insert(records.end(), of_rank.begin(), of_rank.end());
    for (const dcp::WriteResult& result : outcome.results) {
      metadata.storage_data.emplace(result.index, result.storage_info);
    }
  }
  for (const ItemRecord& record : records) {
    end = std::max(end, OffsetAfter(record.offset, record.nbytes));
  }
  metadata.storage_meta = storage_meta();
  metadata.version = "1.0.0";  // of PyTorch's metadata, since torch 2.9
  DCP_ASSIGN_OR_RETURN(std::string pickle, dcp::SerializeMetadata(metadata));
  const std::string index = EncodeIndex(end, records, pickle);
  DCP_ASSIGN_OR_RETURN(
      ArchiveFile file,
      ArchiveFile::Open(temporary_, ArchiveFile::Mode::kWrite));
  DCP_RETURN_IF_ERROR(file.Write(end, std::as_bytes(std::span(index))));
  if (options_.sync) DCP_RETURN_IF_ERROR(file.Sync());
  DCP_RETURN_IF_ERROR(file.Close());
  return pickle;
}

}  // namespace

std::string RankArchivePath(const std::string& path, int rank) {
  return path + ".rank" + std::to_string(rank);
}

std::unique_ptr<dcp::StorageWriter> MakeArchiveWriter(
    ArchiveWriterOptions options) {
  return std::make_unique<ArchiveWriter>(std::move(options));
}

}  // namespace examples
