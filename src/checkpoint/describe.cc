#include "dcp/describe.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/guarded.h"
#include "checkpoint/opened_path.h"
#include "format/file_names.h"
#include "format/sidecar.h"
#include "io/paths.h"
#include "storage/environment.h"
#include "storage/hugging_face_reader.h"
#include "storage/sidecar_file.h"

namespace dcp {
namespace {

/// `nbytes` more for `sum`; false if int64 cannot hold that.
bool AddTo(int64_t* sum, int64_t nbytes) {
  if (nbytes > std::numeric_limits<int64_t>::max() - *sum) return false;
  *sum += nbytes;
  return true;
}

std::string_view ModuleOf(std::string_view fqn) {
  return fqn.substr(0, fqn.find('.'));
}

using Totals = std::map<std::string_view, TensorTotal>;

std::vector<TensorTotal> LargestFirst(const Totals& totals) {
  std::vector<TensorTotal> sorted;
  for (const auto& [name, total] : totals) {
    sorted.push_back(total);
    sorted.back().name = name;
  }
  std::stable_sort(
      sorted.begin(), sorted.end(),
      [](const auto& a, const auto& b) { return a.nbytes > b.nbytes; });
  return sorted;
}

/// Puts together what the metadata says.
class Describer {
 public:
  explicit Describer(const Metadata& metadata) : metadata_(metadata) {
    std::set<std::string_view> names;
    for (const auto& [index, info] : metadata.storage_data) {
      names.insert(info.relative_path);
    }
    for (const std::string_view name : names) {
      positions_.emplace(name, about_.files.size());
      about_.files.push_back({.name = std::string(name)});
    }
  }

  StatusOr<CheckpointDescription> Describe() && {
    DCP_RETURN_IF_ERROR(MeasureFiles());
    for (const auto& [fqn, stored] : metadata_.entries()) {
      if (const auto* tensor = std::get_if<TensorStorageMetadata>(&stored)) {
        DCP_RETURN_IF_ERROR(AddTensor(fqn, *tensor));
      } else {
        AddObject(fqn);
      }
    }
    about_.by_dtype = LargestFirst(by_dtype_);
    about_.by_module = LargestFirst(by_module_);
    CountRanks();
    return std::move(about_);
  }

 private:
  static Status TooLarge(const std::string& what) {
    return DataLoss("the metadata is damaged: " + what +
                    " would have 2^63 bytes or more");
  }

  /// What several keys share has one place.
  Status MeasureFiles() {
    using Place = std::tuple<size_t, int64_t, int64_t>;
    std::vector<Place> places;
    places.reserve(metadata_.storage_data.size());
    for (const auto& [index, info] : metadata_.storage_data) {
      places.emplace_back(positions_.at(info.relative_path), info.offset,
                          info.length);
    }
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    for (const auto& [position, offset, length] : places) {
      DescribedFile& file = about_.files[position];
      if (length < 0 || !AddTo(&file.nbytes, length)) {
        return TooLarge("the file " + file.name);
      }
    }
    return absl::OkStatus();
  }

  /// Where the item `index` lies, or nullptr.
  const StorageInfo* PlaceOf(const MetadataIndex& index) const {
    const auto found = metadata_.storage_data.find(index);
    return found == metadata_.storage_data.end() ? nullptr : &found->second;
  }

  Status AddTensor(const std::string& fqn,
                   const TensorStorageMetadata& tensor) {
    const DType dtype = tensor.properties.dtype;
    const std::optional<int64_t> elements = CheckedNumel(tensor.size);
    if (!elements ||
        *elements > std::numeric_limits<int64_t>::max() / ItemSize(dtype)) {
      return TooLarge("the tensor " + fqn);
    }
    DescribedTensor described{
        .fqn = fqn,
        .dtype = dtype,
        .shape = tensor.size,
        .nbytes = *elements * ItemSize(dtype),
        .chunks = static_cast<int64_t>(tensor.chunks.size())};
    std::set<size_t> files;
    for (const Box& chunk : tensor.chunks) {
      const auto* place = PlaceOf({.fqn = fqn, .offset = chunk.offsets});
      if (place != nullptr) files.insert(positions_.at(place->relative_path));
    }
    described.files.assign(files.begin(), files.end());
    DCP_RETURN_IF_ERROR(Count(fqn, described, *elements));
    about_.tensors.push_back(std::move(described));
    return absl::OkStatus();
  }

  /// `fqn` is the metadata's, which outlives the totals.
  Status Count(const std::string& fqn, const DescribedTensor& tensor,
               int64_t elements) {
    // An element has at least a byte.
    if (!AddTo(&about_.nbytes, tensor.nbytes)) return TooLarge("all tensors");
    about_.elements += elements;
    for (TensorTotal* total :
         {&by_dtype_[DTypeName(tensor.dtype)], &by_module_[ModuleOf(fqn)]}) {
      ++total->tensors;
      total->elements += elements;
      total->nbytes += tensor.nbytes;
    }
    return absl::OkStatus();
  }

  void AddObject(const std::string& fqn) {
    DescribedObject object{.fqn = fqn};
    if (const auto* place = PlaceOf({.fqn = fqn})) {
      object.nbytes = place->length;
      object.files = {positions_.at(place->relative_path)};
    }
    about_.objects.push_back(std::move(object));
  }

  void CountRanks() {
    std::set<int64_t> ranks;
    for (const DescribedFile& file : about_.files) {
      const auto name = ParseDataFileName(file.name);
      if (!name) return;
      ranks.insert(name->rank);
    }
    if (!ranks.empty()) about_.ranks = static_cast<int64_t>(ranks.size());
  }

  const Metadata& metadata_;
  CheckpointDescription about_;
  std::map<std::string_view, size_t> positions_;
  Totals by_dtype_;
  Totals by_module_;
};

/// The sidecar that the reader found, one without a save id if there is none.
StatusOr<Sidecar> SidecarOf(const OpenedPath& opened) {
  const std::string& notes = opened.index.storage_data;
  if (opened.format == CheckpointFormat::kSafetensors) {
    DCP_ASSIGN_OR_RETURN(HuggingFaceNotes parsed, ParseHuggingFaceNotes(notes));
    return std::move(parsed.sidecar);
  }
  if (notes.empty()) return Sidecar();
  return ParseSidecar(notes);
}

Status AddOrigin(const OpenedPath& opened, const std::string& path,
                 CheckpointDescription* about) {
  about->format = opened.format;
  DCP_ASSIGN_OR_RETURN(const Sidecar sidecar, SidecarOf(opened));
  const auto& meta = opened.index.metadata.storage_meta;
  about->is_ours = !sidecar.save_id.empty();
  about->save_id = sidecar.save_id;
  if (!about->is_ours && meta) about->save_id = meta->save_id.value_or("");
  about->step = ParseStepDirectoryName(LastName(path));
  if (!about->step) about->step = sidecar.step;
  return absl::OkStatus();
}

}  // namespace

StatusOr<CheckpointDescription> Describe(const std::string& path,
                                         const DescribeOptions& options,
                                         StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<CheckpointDescription> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    DCP_ASSIGN_OR_RETURN(const auto opened, OpenPath(path, options.io, seams));
    DCP_ASSIGN_OR_RETURN(CheckpointDescription about,
                         Describer(opened->index.metadata).Describe());
    DCP_RETURN_IF_ERROR(
        AddOrigin(*opened, seams.file_system->Absolute(path), &about));
    return about;
  });
}

}  // namespace dcp
