#include "storage/metadata_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string_view>

#include "format/file_names.h"
#include "storage/limits.h"
#include "storage/read_root.h"

namespace dcp {
namespace {

constexpr size_t kMaxNamed = 8;

// A hole of any size takes no room on a disk: a file is read in pieces, and
// ends the reading where it has a page without a single byte that counts.
constexpr int64_t kPieceNbytes = int64_t{16} << 20;
constexpr size_t kPageNbytes = 4096;

/// Where in `bytes` the first page begins, if at all, that is all zeros.
std::optional<size_t> FindHole(std::string_view bytes) {
  for (size_t begin = 0; begin + kPageNbytes <= bytes.size();
       begin += kPageNbytes) {
    const char* const page = bytes.data() + begin;
    if (*page == 0 && std::memcmp(page, page + 1, kPageNbytes - 1) == 0) {
      return begin;
    }
  }
  return std::nullopt;
}

Status CheckNbytes(const std::string& path, int64_t nbytes) {
  if (nbytes <= kMaxMetadataNbytes) return absl::OkStatus();
  return MakeStatus(
      absl::StatusCode::kResourceExhausted,
      path + " has " + std::to_string(nbytes) + " B, more than the " +
          std::to_string(kMaxMetadataNbytes) + " B that are allowed");
}

/// Appends the next `nbytes` of `file` to `content`.
Status Append(File& file, size_t nbytes, std::string* content) {
  const size_t begin = content->size();
  content->resize(begin + nbytes);
  const IoSlice slice{
      .data = reinterpret_cast<std::byte*>(content->data() + begin),
      .nbytes = nbytes};
  return file.ReadFully(static_cast<int64_t>(begin), {&slice, 1});
}

/// The ranks that have metadata of their own in `directory`.
std::set<int64_t> RanksAlone(FileSystem& file_system,
                             const std::string& directory) {
  std::set<int64_t> ranks;
  const auto entries = file_system.List(directory);
  if (!entries.ok()) return ranks;  // the caller's status says enough
  for (const DirectoryEntry& entry : *entries) {
    if (const auto rank = ParseRankMetadataFileName(entry.name)) {
      ranks.insert(*rank);
    }
  }
  return ranks;
}

std::string Names(const std::set<int64_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  size_t count = 0;
  for (const int64_t rank : ranks) {
    if (count > 0) text += ", ";
    if (count++ == kMaxNamed) {
      return text + "... (" + std::to_string(ranks.size()) + " in all)";
    }
    text += std::to_string(rank);
  }
  return text;
}

/// `status` of a file that is not there, with what is.
Status WithRanksAlone(const Status& status, const std::set<int64_t>& ranks) {
  if (ranks.empty()) return status;
  return WithDetail(
      NotFound(std::string(Message(status)) + "; there is metadata of " +
               Names(ranks) +
               ", saved with use_collectives=False: open it with rank=" +
               std::to_string(*ranks.begin())),
      GetErrorDetail(status).value_or(ErrorDetail{}));
}

}  // namespace

StatusOr<std::string> ReadMetadataBytes(FileSystem& file_system,
                                        const std::string& path,
                                        const OpenOptions& options) {
  DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                       file_system.Open(path, options));
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
  DCP_RETURN_IF_ERROR(CheckNbytes(path, nbytes));
  std::string content;
  content.reserve(static_cast<size_t>(nbytes));  // pages come as they are used
  for (int64_t begin = 0; begin < nbytes; begin += kPieceNbytes) {
    const int64_t piece = std::min(nbytes - begin, kPieceNbytes);
    DCP_RETURN_IF_ERROR(Append(*file, static_cast<size_t>(piece), &content));
    if (nbytes <= kPieceNbytes) break;
    const auto hole =
        FindHole(std::string_view(content).substr(static_cast<size_t>(begin)));
    if (!hole) continue;
    return CorruptionError(
        "the file has " + std::to_string(nbytes) +
            " bytes, but only zeros in a page of them",
        {.op = "read",
         .path = path,
         .byte_offset = begin + static_cast<int64_t>(*hole)});
  }
  DCP_RETURN_IF_ERROR(file->Close());
  return content;
}

StatusOr<std::string> ReadMetadataFile(FileSystem& file_system,
                                       const std::string& directory,
                                       const std::string& name) {
  StatusOr<std::string> pickle = ReadMetadataBytes(
      file_system, JoinPath(directory, name), {.beneath = ReadRoot(directory)});
  if (pickle.status().code() != absl::StatusCode::kNotFound) return pickle;
  return WithRanksAlone(pickle.status(), RanksAlone(file_system, directory));
}

}  // namespace dcp
