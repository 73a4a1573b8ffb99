// CopySource: the checkpoint that is to be copied, by its files.

#ifndef DCP_CHECKPOINT_COPY_SOURCE_H_
#define DCP_CHECKPOINT_COPY_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/file_identity.h"
#include "dcp/checkpoint_format.h"
#include "dcp/copy.h"
#include "dcp/filesystem_storage.h"
#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/sidecar.h"

namespace dcp {

/// Whether a file of this name is one of safetensors, or an index of such.
bool IsOfSafetensors(std::string_view name);

struct FileToCopy {
  std::string name;    ///< in both directories
  int64_t nbytes = 0;  ///< that are copied; a file beside may grow meanwhile
  /// Whether the metadata names it; else it lies beside the checkpoint.
  bool is_data = false;
  const SidecarFile* record = nullptr;  ///< its checksums, if there are any
  FileIdentity identity;                ///< if there are none
};

struct CopySource {
  std::string directory;
  CheckpointFormat format = CheckpointFormat::kDcp;
  Metadata metadata;
  Sidecar sidecar;  ///< without a save id if there is none
  std::string sidecar_bytes;
  std::string index_bytes;  ///< indexed metadata; empty if there are none
  /// `.metadata`, or the index of safetensors; empty if there is none of these.
  std::string commit_name;
  std::string commit_bytes;
  /// All but the sidecar, the index and the commit file, data last.
  std::vector<FileToCopy> files;
  int64_t nbytes = 0;  ///< of `files`
  std::vector<FileNotCopied> not_copied;

  /// Of safetensors.
  bool has_index() const { return !commit_name.empty(); }
  /// Whether a temporary file comes before the commit, which is its end: it
  /// becomes the index, or, beside files of ranks, is a mark that goes.
  bool ends_by_file() const;
};

/// Reads what there is to know before data is read. `directory` is absolute,
/// `environment` complete. Pointers in the result are into it.
/// \error as CopyCheckpoint
StatusOr<CopySource> ReadCopySource(const std::string& directory,
                                    const IoOptions& io,
                                    const StorageEnvironment& environment);

/// Opens `file` of `source` to read it, whose first `file.nbytes` are what they
/// were.
/// \error kAborted  it has no checksums, and was replaced since; or it is of
/// the
///     checkpoint and has grown
StatusOr<std::unique_ptr<File>> OpenToCopy(FileSystem& file_system,
                                           const CopySource& source,
                                           const FileToCopy& file);

/// Whether `source` is still the checkpoint in its directory, as far as its
/// commit file and the files without checksums tell.
/// \error kAborted  it was replaced
Status RequireUnchanged(FileSystem& file_system, const CopySource& source);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_COPY_SOURCE_H_
