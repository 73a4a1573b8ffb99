// Saves of small safetensors checkpoints through HuggingFacePublisher, and what
// readers find of them.

#ifndef DCP_TESTS_STORAGE_HUGGING_FACE_CASES_H_
#define DCP_TESTS_STORAGE_HUGGING_FACE_CASES_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "conformance/check_files.h"
#include "dcp/checkpoint.h"
#include "dcp/hugging_face_storage.h"
#include "format/safetensors_header.h"
#include "format/safetensors_index.h"
#include "format/safetensors_sharding.h"
#include "format/safetensors_shards.h"
#include "storage/hugging_face_publish.h"

namespace dcp {

/// The model's directory, and the one that holds it.
inline const std::string kModelParent = "/run";
inline const std::string kModel = "/run/model";

/// A model of `shards` files, each with one tensor whose elements are `value`.
struct SmallModel {
  float value = 0;
  int64_t shards = 1;
  int64_t elements = 300;
  bool of_ranks = false;  ///< files of ranks, the first of rank 0
  std::string_view stem = "model";
};

inline std::string KeyOf(int64_t shard) {
  return "layer" + std::to_string(shard);
}

struct ShardBytes {
  std::string head;
  std::string all;
};

inline ShardBytes BytesOfShard(const SmallModel& model, int64_t shard) {
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (model.of_ranks) {
    metadata.emplace(kShardingInfoKey,
                     SerializeShardingInfo({{KeyOf(shard), Dims{0}}}));
  }
  const auto head =
      SerializeSafetensorsHeader({{.name = KeyOf(shard),
                                   .dtype = SafetensorsDType::kF32,
                                   .shape = Dims{model.elements}}},
                                 std::move(metadata));
  REQUIRE(head.ok());
  const std::vector<float> values(static_cast<size_t>(model.elements),
                                  model.value);
  ShardBytes bytes{.head = head->bytes, .all = head->bytes};
  bytes.all.append(reinterpret_cast<const char*>(values.data()),
                   values.size() * sizeof(float));
  return bytes;
}

inline SidecarFile RecordOf(const std::string& name, std::string_view bytes) {
  SidecarFile record{.name = name, .nbytes = std::ssize(bytes)};
  while (!bytes.empty()) {
    const auto block = bytes.substr(
        0, std::min(bytes.size(), static_cast<size_t>(kSidecarBlockNbytes)));
    record.block_crcs.push_back(Crc32(0, std::as_bytes(std::span(block))));
    bytes.remove_prefix(block.size());
  }
  return record;
}

struct SaveOfModel {
  std::string save_id = "dcpcpp-00000001";
  SmallModel model;
  std::string directory = kModel;
  bool overwrite = true;
  std::string session_id;
};

/// What the ranks do: writes the files, and tells what was written.
inline StatusOr<PublishRequest> WriteShards(FileSystem& fs,
                                            const SaveOfModel& save,
                                            HuggingFacePublisher& publisher,
                                            std::string* index_text) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < save.model.shards; ++i) {
    names.push_back(RankShardName(i, 1, 1));
  }
  const auto places = save.model.of_ranks
                          ? publisher.PlaceRankFiles(names)
                          : publisher.PlaceShards(save.model.shards);
  PublishRequest request{.sidecar = {.save_id = save.save_id}};
  SafetensorsIndex index{.total_size = save.model.shards * save.model.elements *
                                       int64_t{sizeof(float)},
                         .save_id = save.save_id};
  std::string head;
  for (size_t i = 0; i < places.size(); ++i) {
    const auto shard = static_cast<int64_t>(i);
    const ShardBytes bytes = BytesOfShard(save.model, shard);
    head = bytes.head;
    DCP_RETURN_IF_ERROR(
        WriteFile(fs, places[i].path, bytes.all, SyncMode::kSync));
    request.sidecar.files.push_back(RecordOf(places[i].name, bytes.all));
    index.weight_map[KeyOf(shard)] = places[i].name;
  }
  const std::string& path = places[0].path;
  DCP_RETURN_IF_ERROR(fs.SyncDirectory(path.substr(0, path.rfind('/'))));
  if (publisher.needs_index() || (places.size() > 1 && !save.model.of_ranks)) {
    DCP_ASSIGN_OR_RETURN(*index_text, SerializeSafetensorsIndex(index));
  }
  request.index = *index_text;
  BindSidecar(index_text->empty() ? head : *index_text, &request.sidecar);
  return request;
}

/// How a save went.
struct SaveOutcome {
  PublishWay way = PublishWay::kFresh;
  bool attempted = false;  // the commit
};

/// A whole save.
inline Status SaveModel(const std::shared_ptr<FileSystem>& fs,
                        const SaveOfModel& save,
                        SaveOutcome* outcome = nullptr) {
  DCP_ASSIGN_OR_RETURN(
      const auto publisher,
      HuggingFacePublisher::Open(fs, MakeSystemClock(),
                                 {.directory = save.directory,
                                  .save_id = save.save_id,
                                  .session_id = save.session_id,
                                  .file_stem = std::string(save.model.stem),
                                  .overwrite = save.overwrite,
                                  .file_per_rank = save.model.of_ranks}));
  std::string index;
  const auto request = WriteShards(*fs, save, *publisher, &index);
  const Status status =
      request.ok() ? publisher->Publish(*request) : request.status();
  if (!status.ok()) publisher->Abandon();
  if (outcome != nullptr) {
    *outcome = {.way = publisher->way(),
                .attempted = publisher->commit_attempted()};
  }
  return status;
}

/// What readers find.
struct FoundModel {
  std::string problem;  ///< "none" if there is no checkpoint
  std::map<std::string, float> values;

  /// Whether it is all of `model`, and nothing else.
  bool Is(const SmallModel& model) const {
    if (!problem.empty() || std::ssize(values) != model.shards) return false;
    for (int64_t i = 0; i < model.shards; ++i) {
      const auto found = values.find(KeyOf(i));
      if (found == values.end() || found->second != model.value) return false;
    }
    return true;
  }
};

/// The one value of all elements, NaN if they are several.
inline float OneValue(std::span<const float> elements) {
  const bool same = std::all_of(elements.begin(), elements.end(),
                                [&](float e) { return e == elements[0]; });
  return same ? elements[0] : std::numeric_limits<float>::quiet_NaN();
}

inline const IoOptions kModelIo{.engine = IoEngineKind::kThreads,
                                .direct_io = DirectIo::kOff,
                                .workers = 1};

inline Status ReadModel(std::shared_ptr<FileSystem> fs,
                        std::map<std::string, float>* values,
                        const std::string& directory = kModel) {
  auto opened = Checkpoint::Open(MakeReaderByContent(
      {.path = directory, .io = kModelIo}, {.file_system = std::move(fs)}));
  DCP_RETURN_IF_ERROR(opened.status());
  for (const auto& [key, entry] : (*opened)->metadata().entries()) {
    const auto& size = std::get<TensorStorageMetadata>(entry).size;
    std::vector<float> elements(static_cast<size_t>(Numel(size)), -1.0F);
    const Box all{.offsets = Dims::Filled(size.size(), 0), .sizes = size};
    DCP_RETURN_IF_ERROR((*opened)->ReadTensor(
        key, all, ContiguousView(elements.data(), DType::kFloat32, size)));
    (*values)[key] = OneValue(elements);
  }
  return absl::OkStatus();
}

/// By our reader.
inline FoundModel FindModel(std::shared_ptr<FileSystem> fs) {
  FoundModel found;
  const Status status = ReadModel(std::move(fs), &found.values);
  if (status.code() == absl::StatusCode::kNotFound) {
    found.problem = "none";
  } else if (!status.ok()) {
    found.problem = Message(status);
  }
  return found;
}

/// The tensors of one file, without our checks.
inline void ReadRawFile(FileSystem& fs, const std::string& name,
                        FoundModel* found) {
  const auto bytes = ReadFile(fs, JoinPath(kModel, name), 1 << 30, {});
  if (!bytes.ok()) {
    found->problem = Message(bytes.status());
    return;
  }
  const auto header = ParseSafetensorsHeader(std::as_bytes(std::span(*bytes)),
                                             std::ssize(*bytes));
  if (!header.ok()) {
    found->problem = Message(header.status());
    return;
  }
  for (const SafetensorsTensor& tensor : header->tensors) {
    std::vector<float> elements(
        static_cast<size_t>((tensor.end - tensor.begin) / 4));
    std::memcpy(elements.data(),
                bytes->data() + header->data_offset + tensor.begin,
                elements.size() * sizeof(float));
    found->values[tensor.name] = OneValue(elements);
  }
}

/// As transformers 5 does: model.safetensors, else what the index names. Of
/// another stem as diffusers does: the index comes first.
inline FoundModel FindModelAsTransformers(FileSystem& fs,
                                          std::string_view stem = "model") {
  FoundModel found;
  const std::string single = std::string(stem) + ".safetensors";
  const std::string index_path = JoinPath(
      kModel, std::string(stem) + std::string(kSafetensorsIndexSuffix));
  const bool has_single = fs.Exists(JoinPath(kModel, single)).value();
  if (has_single && (stem == "model" || !fs.Exists(index_path).value())) {
    ReadRawFile(fs, single, &found);
    return found;
  }
  const auto text = ReadFile(fs, index_path, 1 << 30, {});
  if (!text.ok()) {
    found.problem = "none";
    return found;
  }
  const auto index = ParseSafetensorsIndex(*text);
  if (!index.ok()) {
    found.problem = Message(index.status());
    return found;
  }
  for (const auto& [key, file] : index->weight_map) {
    ReadRawFile(fs, file, &found);
  }
  return found;
}

/// The names in a directory, sorted.
inline std::vector<std::string> NamesIn(FileSystem& fs,
                                        const std::string& directory) {
  std::vector<std::string> names;
  const auto entries = fs.List(directory).value();
  for (const DirectoryEntry& entry : entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  return names;
}

inline const SmallModel kOldModel{.value = 1};
inline const SmallModel kNewModel{.value = 2, .shards = 2};

inline void PutInModel(FileSystem& fs, const std::string& name,
                       const std::string& bytes) {
  DCP_CHECK_OK(WriteFile(fs, JoinPath(kModel, name), bytes, SyncMode::kNone));
}

inline std::shared_ptr<FileSystem> EmptyDisk() {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories(kModel));
  return fs;
}

inline std::shared_ptr<FileSystem> DiskWithOld() {
  auto fs = EmptyDisk();
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-aa", .model = kOldModel}));
  return fs;
}

}  // namespace dcp

#endif  // DCP_TESTS_STORAGE_HUGGING_FACE_CASES_H_
