// CopyCheckpoint: a checkpoint as it is, in another directory.

#ifndef DCP_COPY_H_
#define DCP_COPY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dcp/checkpoint_format.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

/// Bytes of files.
struct CopyProgress {
  int64_t nbytes_done = 0;
  int64_t nbytes_total = 0;
};

struct CopyOptions {
  /// Called now and then, in the caller's thread; an error ends the copy.
  std::function<Status(const CopyProgress&)> progress;
  IoOptions io;  ///< of the checks of files without checksums of dcp's
};

/// A file beside the checkpoint that stays behind.
struct FileNotCopied {
  std::string name;
  std::string reason;
};

struct CopyResult {
  CheckpointFormat format = CheckpointFormat::kDcp;
  int64_t files = 0;  ///< all that were written
  int64_t nbytes = 0;
  /// Files beside the checkpoint that `destination` had already. They stay.
  std::vector<std::string> left_alone;
  /// Files beside the checkpoint that cannot come along: safetensors and
  /// indices that it does not name, and links that lead elsewhere.
  std::vector<FileNotCopied> not_copied;
};

/// Copies the checkpoint in the directory `source`, native or of safetensors
/// files, file by file, into the directory `destination`, which is created if
/// absent. Files beside the checkpoint's own (config, tokenizer) go along;
/// directories, marks like a pin, and what killed saves left do not.
///
/// Becomes a checkpoint as a save does (src/checkpoint/COMMIT.md, "Copies"):
/// data files are written and synced first, `.metadata` or the index last, and
/// the next save or CleanCheckpoint removes what a killed copy left. What is
/// read is checked: by the sidecar in checkpoints of dcp, item by item in stock
/// torch's, the headers alone of others' safetensors. Whether a file without
/// checksums was replaced meanwhile is told by its size, its time and its ends.
/// A file beside the checkpoint that grows meanwhile, such as a log, is copied
/// as long as it was when the copy began.
///
/// A checkpoint in `destination` is never replaced, because the names of the
/// files, which the metadata tells, may be those of its own.
/// \error kNotFound  there is no checkpoint in `source`
/// \error kInvalidArgument  source and destination are the same; `source` is a
///     file, or holds both formats
/// \error kFailedPrecondition  a checkpoint is in `destination`
/// \error kAlreadyExists  a data file of that name is there
/// \error kAborted  somebody saves into `destination`, or the checkpoint in
///     `source`, or a file beside it, was replaced meanwhile: copy it again
/// \error kDataLoss  the source is damaged
/// \error kUnimplemented  files of it lie in sub-directories
/// \error kResourceExhausted  `destination` has not enough room
/// \error any of these with ErrorDetail::op "commit": the copy may be whole in
///     `destination`, and what was written stays
StatusOr<CopyResult> CopyCheckpoint(const std::string& source,
                                    const std::string& destination,
                                    const CopyOptions& options = {},
                                    StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_COPY_H_
