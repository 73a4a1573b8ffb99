// 1. Objects are resolved first: data.pkl holds their values, and where a
//    tensor's record begins depends on its length.
// 2. Where everything lies is known then, but for the CRC-32s: these stand
//    behind each record and in the directory at the end, so one pass forward
//    writes the file.
// 3. The file grows under a name of its own, is synced, and Finish renames it.

#include "storage/torch_file_writer.h"

#include <utility>

#include "base/random_id.h"
#include "dcp/metadata_codec.h"
#include "io/stall.h"
#include "staging/pipeline_options.h"
#include "storage/environment.h"
#include "storage/write_items.h"

namespace dcp {
namespace {

/// The items of a plan, as a state dict and the data of its tensors.
class TorchFilePlan {
 public:
  TorchFilePlan(const SavePlan& plan, WriteSource& source)
      : plan_(plan), source_(source) {}

  Status Resolve() {
    for (const WriteItem& item : plan_.items) {
      DCP_RETURN_IF_ERROR(item.type == WriteItemType::kByteIo
                              ? AddBytes(item)
                              : AddTensor(item));
    }
    return absl::OkStatus();
  }

  /// \param paths  those of the keys, by which they are nested
  StatusOr<std::unique_ptr<TorchFileImage>> MakeImage(
      const std::unordered_map<std::string, ObjectPath>& paths) {
    NestedState state;
    for (size_t i = 0; i < plan_.items.size(); ++i) {
      const std::string& fqn = plan_.items[i].fqn;
      const auto path = paths.find(fqn);
      DCP_RETURN_IF_ERROR(state.Add(
          fqn, path == paths.end() ? ObjectPath{fqn} : path->second, i));
    }
    DCP_ASSIGN_OR_RETURN(StatePickle pickle, RenderStatePickle(state, leaves_));
    std::vector<RecordData> records;
    record_of_.assign(plan_.items.size(), std::nullopt);
    for (const StateRecord& record : pickle.records) {
      record_of_[record.leaf] = records.size();
      records.push_back({.nbytes = record.nbytes,
                         .content = record.bytes
                                        ? RecordContent(*record.bytes)
                                        : std::move(contents_[record.leaf])});
    }
    return std::make_unique<TorchFileImage>(std::move(pickle.pickle),
                                            std::move(records));
  }

  /// Of an item: a tensor's own record; of objects the last, or none.
  std::optional<size_t> record_of(size_t item) const {
    return record_of_[item];
  }

 private:
  using RecordContent = decltype(RecordData::content);

  Status AddBytes(const WriteItem& item) {
    DCP_ASSIGN_OR_RETURN(const WritePayload payload,
                         ResolveItem(source_, item));
    Add(item, std::get<std::string_view>(payload), RecordContent());
    return absl::OkStatus();
  }

  Status AddTensor(const WriteItem& item) {
    if (item.chunk.sizes != item.global_size) {
      return Unimplemented("a torch file holds whole tensors, and " + item.fqn +
                           " has several chunks");
    }
    const TensorItemSpec spec{.dtype = item.properties.dtype,
                              .sizes = item.chunk.sizes};
    if (WriteStream* const stream = source_.StreamOf(item)) {
      Add(item, spec, StreamedRecord{.stream = stream, .item = &item});
      return absl::OkStatus();
    }
    DCP_ASSIGN_OR_RETURN(const WritePayload payload,
                         ResolveItem(source_, item));
    if (const auto* encoded = std::get_if<std::string_view>(&payload)) {
      Add(item, *encoded, RecordContent());
      return absl::OkStatus();
    }
    const auto& view = std::get<TensorView>(payload);
    if (view.device.type != DeviceType::kCpu) {
      return Unimplemented("a torch file is written of host memory only: " +
                           item.fqn + " lies on a device");
    }
    Add(item, spec, ViewRecord{.view = view, .dtype = spec.dtype});
    return absl::OkStatus();
  }

  void Add(const WriteItem& item,
           std::variant<TensorItemSpec, std::string_view> value,
           RecordContent content) {
    leaves_.push_back({.fqn = item.fqn, .value = std::move(value)});
    contents_.push_back(std::move(content));
  }

  const SavePlan& plan_;
  WriteSource& source_;
  std::vector<StateLeaf> leaves_;
  std::vector<RecordContent> contents_;  // by leaf
  std::vector<std::optional<size_t>> record_of_;
};

/// The directory and the name of `path`.
std::pair<std::string, std::string> SplitName(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

}  // namespace

TorchFileWriter::TorchFileWriter(TorchFileWriterOptions options,
                                 StorageEnvironment environment)
    : options_(std::move(options)),
      unwatched_(std::move(environment.file_system)) {
  options_.path = unwatched_->Absolute(options_.path);
}

Status TorchFileWriter::SetUp(const StorageRole& role) {
  if (role.world_size != 1) {
    return Unimplemented("a torch file is written by one process, not by " +
                         std::to_string(role.world_size) + " ranks");
  }
  file_system_ = std::make_shared<WatchedFileSystem>(unwatched_,
                                                     options_.io.stall_timeout);
  if (!file_system_->traits().atomic_rename) {
    return Unimplemented("a torch file needs a file system that renames, not " +
                         file_system_->traits().name);
  }
  partial_.clear();
  commit_attempted_ = false;
  DCP_ASSIGN_OR_RETURN(const bool is_there,
                       file_system_->Exists(options_.path));
  if (is_there && file_system_->List(options_.path).ok()) {
    return InvalidArgument(options_.path +
                           " is a directory; a torch file cannot replace it");
  }
  return absl::OkStatus();
}

StatusOr<std::string> TorchFileWriter::PrepareLocalPlan(const SavePlan&) {
  return std::string();
}

StatusOr<std::vector<std::string>> TorchFileWriter::PrepareGlobalPlan(
    const GlobalPlan& plan, std::span<const std::string>) {
  paths_ = plan.metadata.planner_data;
  return std::vector<std::string>(plan.plans.size());
}

StatusOr<WriteOutcome> TorchFileWriter::WriteData(const SavePlan& plan,
                                                  std::string_view,
                                                  WriteSource& source) {
  WriteOutcome outcome;
  if (Status written = Write(plan, source, &outcome.results); !written.ok()) {
    if (IsStall(written)) file_system_->GiveUp(written);
    return written;
  }
  return outcome;
}

Status TorchFileWriter::Write(const SavePlan& plan, WriteSource& source,
                              std::vector<WriteResult>* results) {
  TorchFilePlan contents(plan, source);
  DCP_RETURN_IF_ERROR(contents.Resolve());
  DCP_ASSIGN_OR_RETURN(const auto image,
                       contents.MakeImage(paths_.value_or(
                           std::unordered_map<std::string, ObjectPath>())));
  DCP_RETURN_IF_ERROR(WriteImage(*image, source));
  source.Release();
  const std::string name = SplitName(options_.path).second;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const auto record = contents.record_of(i);
    const WriteItem& item = plan.items[i];
    results->push_back(
        {.index = item.index(),
         .size_in_bytes = item.nbytes,
         .storage_info = {.relative_path = name,
                          .offset = record ? image->data_offset(*record) : 0,
                          .length = item.nbytes}});
  }
  return absl::OkStatus();
}

Status TorchFileWriter::WriteImage(TorchFileImage& image, WriteSource& source) {
  const std::string partial =
      options_.path + "." + MakeRandomHex() + ".partial";
  DCP_ASSIGN_OR_RETURN(
      const auto file,
      file_system_->OpenWatched(partial, {.mode = OpenMode::kCreateNew,
                                          .direct_io = options_.io.direct_io}));
  partial_ = partial;
  const bool positional = file_system_->traits().positional_writes;
  if (positional) DCP_RETURN_IF_ERROR(file->Allocate(image.nbytes()));
  const FileRegion region{
      .file = file->unwatched(), .begin = 0, .end = image.nbytes()};
  PipelineOptions pipeline = ResolvePipelineOptions(options_.io);
  pipeline.proceed = [&source] { return source.Proceed(); };
  pipeline.trace = source.trace();
  DCP_RETURN_IF_ERROR(RunWritePipeline(
      {&region, 1}, positional ? WriteOrder::kAny : WriteOrder::kSequential,
      image, pipeline));
  if (file->direct_io()) DCP_RETURN_IF_ERROR(file->Truncate(image.nbytes()));
  if (options_.sync_files) DCP_RETURN_IF_ERROR(file->Sync());
  return file->Close();
}

StatusOr<std::string> TorchFileWriter::Finish(
    Metadata metadata, std::vector<WriteOutcome> outcomes) {
  for (const WriteOutcome& outcome : outcomes) {
    for (const WriteResult& result : outcome.results) {
      metadata.storage_data.emplace(result.index, result.storage_info);
    }
  }
  metadata.storage_meta = storage_meta();
  DCP_ASSIGN_OR_RETURN(std::string pickle, SerializeMetadata(metadata));
  commit_attempted_ = true;
  DCP_RETURN_IF_ERROR(file_system_->Rename(partial_, options_.path));
  partial_.clear();
  if (options_.sync_files && file_system_->traits().directory_sync) {
    DCP_RETURN_IF_ERROR(
        file_system_->SyncDirectory(SplitName(options_.path).first));
  }
  return pickle;
}

void TorchFileWriter::Abort() {
  if (commit_attempted_ || partial_.empty()) return;
  file_system_->Remove(partial_).IgnoreError();
  partial_.clear();
}

StorageMeta TorchFileWriter::storage_meta() const {
  return {.checkpoint_id = options_.path};
}

std::unique_ptr<StorageWriter> MakeTorchFileWriter(
    TorchFileWriterOptions options, StorageEnvironment environment) {
  return std::make_unique<TorchFileWriter>(
      std::move(options), WithDefaults(std::move(environment)));
}

}  // namespace dcp
