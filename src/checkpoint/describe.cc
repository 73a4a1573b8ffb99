#include "dcp/describe.h"

#include <algorithm>
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
#include "checkpoint/tensor_totals.h"
#include "format/file_names.h"
#include "format/sidecar.h"
#include "io/paths.h"
#include "storage/environment.h"
#include "storage/hugging_face_reader.h"
#include "storage/sidecar_file.h"

namespace dcp {
namespace {

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
  Describer(const Metadata& metadata, DescribeDepth depth)
      : metadata_(metadata),
        lists_items_(depth == DescribeDepth::kItems),
        files_of_(lists_items_ ? metadata.entries().size() : 0) {}

  StatusOr<CheckpointDescription> Describe() && {
    DCP_RETURN_IF_ERROR(MeasureFiles(ListParts()));
    for (size_t position = 0; position < metadata_.entries().size();
         ++position) {
      const auto& [fqn, stored] = metadata_.entries()[position];
      if (const auto* tensor = std::get_if<TensorStorageMetadata>(&stored)) {
        DCP_RETURN_IF_ERROR(AddTensor(position, fqn, *tensor));
      } else {
        AddObject(position, fqn);
      }
    }
    std::move(totals_).MoveTo(&about_);
    return std::move(about_);
  }

 private:
  /// Also lists the files. There may be millions of parts, so each is looked at
  /// once.
  std::vector<Part> ListParts() {
    std::map<std::string_view, size_t> met;  // files, numbered as they are met
    std::vector<Part> parts;
    parts.reserve(metadata_.storage_data.size());
    for (const auto& [index, info] : metadata_.storage_data) {
      const auto file = met.try_emplace(info.relative_path, met.size()).first;
      parts.push_back(
          {.entry = lists_items_ ? metadata_.Position(index.fqn) : 0,
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
      if (part.nbytes < 0 || !AddNbytes(part.nbytes, &file.nbytes)) {
        return ImpossiblyLarge("the file " + file.name);
      }
    }
    return absl::OkStatus();
  }

  Status AddTensor(size_t position, const std::string& fqn,
                   const TensorStorageMetadata& tensor) {
    const DType dtype = tensor.properties.dtype;
    DCP_ASSIGN_OR_RETURN(const int64_t nbytes,
                         totals_.Add(fqn, dtype, tensor.size));
    if (!lists_items_) return absl::OkStatus();
    about_.tensors.push_back(
        {.fqn = fqn,
         .dtype = dtype,
         .shape = tensor.size,
         .nbytes = nbytes,
         .chunks = static_cast<int64_t>(tensor.chunks.size()),
         .files = std::move(files_of_[position])});
    return absl::OkStatus();
  }

  void AddObject(size_t position, const std::string& fqn) {
    ++about_.object_count;
    if (!lists_items_) return;
    const auto place = metadata_.storage_data.find({.fqn = fqn});
    const bool is_stored = place != metadata_.storage_data.end();
    about_.objects.push_back({.fqn = fqn,
                              .nbytes = is_stored ? place->second.length : 0,
                              .files = std::move(files_of_[position])});
  }

  const Metadata& metadata_;
  const bool lists_items_;
  CheckpointDescription about_;
  std::vector<std::vector<size_t>> files_of_;  // by entry, each ascending
  TensorTotals totals_;
};

/// The files that `sidecar` tells of, by name.
Status AddFiles(const Sidecar& sidecar, CheckpointDescription* about) {
  for (const SidecarFile& file : sidecar.files) {
    DescribedFile& described = about->files.emplace_back();
    described.name = file.name;
    for (const SidecarItem& item : file.items) {
      if (!AddNbytes(item.length, &described.nbytes)) {
        return ImpossiblyLarge("the file " + file.name);
      }
    }
  }
  std::sort(about->files.begin(), about->files.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return absl::OkStatus();
}

/// What Describer tells without items, from the directory of the index and the
/// sidecar: however many items there are, their metadata is not read.
StatusOr<CheckpointDescription> TotalsOf(const BoundIndex& index) {
  CheckpointDescription about;
  TensorTotals totals;
  for (size_t position = 0; position < index.metadata.size(); ++position) {
    DCP_ASSIGN_OR_RETURN(const auto entry, index.metadata.At(position));
    if (!entry.is_tensor) {
      ++about.object_count;
      continue;
    }
    DCP_RETURN_IF_ERROR(
        totals.Add(entry.fqn, entry.properties.dtype, entry.size).status());
  }
  std::move(totals).MoveTo(&about);
  DCP_RETURN_IF_ERROR(AddFiles(index.sidecar, &about));
  return about;
}

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

void AddRanks(CheckpointDescription* about) {
  std::set<int64_t> ranks;
  for (const DescribedFile& file : about->files) {
    const auto name = ParseDataFileName(file.name);
    if (!name) return;
    ranks.insert(name->rank);
  }
  if (!ranks.empty()) about->ranks = static_cast<int64_t>(ranks.size());
}

void AddOrigin(const Sidecar& sidecar, const std::string& path,
               CheckpointDescription* about) {
  about->is_ours = !sidecar.save_id.empty();
  about->save_id = sidecar.save_id;
  about->step = ParseStepDirectoryName(LastName(path));
  if (!about->step) about->step = sidecar.step;
  AddRanks(about);
}

StatusOr<CheckpointDescription> DescribeOpened(const OpenedPath& opened,
                                               const std::string& path,
                                               DescribeDepth depth) {
  const Metadata& metadata = opened.index.metadata;
  DCP_ASSIGN_OR_RETURN(CheckpointDescription about,
                       Describer(metadata, depth).Describe());
  DCP_ASSIGN_OR_RETURN(const Sidecar sidecar, SidecarOf(opened));
  AddOrigin(sidecar, path, &about);
  about.format = opened.format;
  if (!about.is_ours && metadata.storage_meta) {
    about.save_id = metadata.storage_meta->save_id.value_or("");
  }
  return about;
}

}  // namespace

StatusOr<CheckpointDescription> Describe(const std::string& path,
                                         const DescribeOptions& options,
                                         StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<CheckpointDescription> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    const std::string absolute = seams.file_system->Absolute(path);
    if (options.depth == DescribeDepth::kTotals) {
      DCP_ASSIGN_OR_RETURN(const auto index,
                           OpenIndexAt(path, options.io, seams));
      if (index) {
        DCP_ASSIGN_OR_RETURN(CheckpointDescription about, TotalsOf(*index));
        AddOrigin(index->sidecar, absolute, &about);
        return about;
      }
    }
    DCP_ASSIGN_OR_RETURN(const auto opened,
                         OpenToLook(path, options.io, seams));
    return DescribeOpened(*opened, absolute, options.depth);
  });
}

}  // namespace dcp
