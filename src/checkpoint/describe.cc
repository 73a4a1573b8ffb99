#include "dcp/describe.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

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

/// Where a stored chunk or object lies.
struct Part {
  size_t entry = 0;  ///< position of its key in Metadata::entries()
  size_t file = 0;   ///< position in CheckpointDescription::files
  int64_t byte_offset = 0;
  int64_t nbytes = 0;

  auto place() const { return std::tie(file, byte_offset, nbytes); }
};

/// Puts together what the metadata says.
class Describer {
 public:
  explicit Describer(const Metadata& metadata)
      : metadata_(metadata), files_of_(metadata.entries().size()) {}

  StatusOr<CheckpointDescription> Describe() && {
    std::vector<Part> parts = ListParts();
    DCP_RETURN_IF_ERROR(MeasureFiles(std::move(parts)));
    size_t position = 0;
    for (const auto& [fqn, stored] : metadata_.entries()) {
      std::vector<size_t>& files = files_of_[position++];
      if (const auto* tensor = std::get_if<TensorStorageMetadata>(&stored)) {
        DCP_RETURN_IF_ERROR(AddTensor(fqn, *tensor, std::move(files)));
      } else {
        AddObject(fqn, std::move(files));
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

  /// Also lists the files. There may be millions of parts, so each is looked at
  /// once.
  std::vector<Part> ListParts() {
    std::map<std::string_view, size_t> met;  // files, numbered as they are met
    std::vector<Part> parts;
    parts.reserve(metadata_.storage_data.size());
    for (const auto& [index, info] : metadata_.storage_data) {
      const auto file = met.try_emplace(info.relative_path, met.size()).first;
      parts.push_back({.entry = metadata_.Position(index.fqn),
                       .file = file->second,
                       .byte_offset = info.offset,
                       .nbytes = info.length});
    }
    std::vector<size_t> positions(met.size());
    for (const auto& [name, number] : met) {
      positions[number] = about_.files.size();
      about_.files.push_back({.name = std::string(name)});
    }
    for (Part& part : parts) part.file = positions[part.file];
    return parts;
  }

  /// Also finds the files of each entry. What several keys share has one place.
  Status MeasureFiles(std::vector<Part> parts) {
    std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
      return a.place() < b.place();
    });
    const Part* last = nullptr;
    for (const Part& part : parts) {
      if (part.entry < files_of_.size()) {
        std::vector<size_t>& files = files_of_[part.entry];
        if (files.empty() || files.back() != part.file) {
          files.push_back(part.file);
        }
      }
      if (last != nullptr && last->place() == part.place()) continue;
      last = &part;
      DescribedFile& file = about_.files[part.file];
      if (part.nbytes < 0 || !AddTo(&file.nbytes, part.nbytes)) {
        return TooLarge("the file " + file.name);
      }
    }
    return absl::OkStatus();
  }

  Status AddTensor(const std::string& fqn, const TensorStorageMetadata& tensor,
                   std::vector<size_t> files) {
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
        .chunks = static_cast<int64_t>(tensor.chunks.size()),
        .files = std::move(files)};
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

  void AddObject(const std::string& fqn, std::vector<size_t> files) {
    const auto place = metadata_.storage_data.find({.fqn = fqn});
    const bool is_stored = place != metadata_.storage_data.end();
    about_.objects.push_back({.fqn = fqn,
                              .nbytes = is_stored ? place->second.length : 0,
                              .files = std::move(files)});
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
  std::vector<std::vector<size_t>> files_of_;  // by entry, each ascending
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
