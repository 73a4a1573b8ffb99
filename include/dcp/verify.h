// Verify: is every byte of a checkpoint what was written?

#ifndef DCP_VERIFY_H_
#define DCP_VERIFY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dcp/checkpoint_format.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

/// One thing that is wrong with a checkpoint. Where several tensors share the
/// bytes that are wrong, each has a Damage of its own.
struct Damage {
  std::string fqn;   ///< the tensor or object; empty if none is concerned
  std::string path;  ///< the file
  /// The bytes of the file that are wrong, or in doubt; nullopt if it is the
  /// file as a whole.
  std::optional<int64_t> byte_offset;
  std::optional<int64_t> nbytes;
  std::string message;  ///< what is wrong, without the above

  bool operator==(const Damage&) const = default;
};

struct VerifyReport {
  CheckpointFormat format = CheckpointFormat::kDcp;
  /// StorageMeta::save_id; empty if the checkpoint has none, or one for every
  /// rank (`__<rank>.metadata`).
  std::string save_id;
  /// Whether dcp wrote it: then its sidecar vouches for every byte. In a
  /// checkpoint of stock torch's, and in a file of torch.save, the CRC-32s
  /// inside do; the data of others' safetensors files has no checksums.
  bool is_ours = false;
  int64_t files = 0;    ///< data files
  int64_t tensors = 0;  ///< keys of tensors
  int64_t objects = 0;  ///< keys of objects
  int64_t nbytes = 0;   ///< bytes of data that were checked
  /// By file, offset and key.
  std::vector<Damage> damages;
};

struct VerifyOptions {
  IoOptions io;
};

/// Checks a whole checkpoint, a directory in the native format, dcp's own or
/// stock torch's, or else of safetensors files, a single one of these, or a
/// file of torch.save; goes on after damage.
///
/// Checked: what the metadata promises (a place for every item, chunks that
/// cover their tensor and do not overlap), that files are there and as long as
/// they should be, and their bytes. In dcp's checkpoints those are all bytes
/// of all files, against the sidecar; in stock torch's the structure and the
/// CRC-32s of every item, transformed ones expanded, and that the tensor in it
/// is the one that the metadata describes. Of safetensors files the
/// headers are checked, that the sizes of the files are what these say, that
/// every tensor is where the index has it, and, where dcp wrote them, all
/// bytes; of a single file, if the sidecar that lists it lies beside it. Of a
/// file of torch.save what a load reads is checked, and every record that has a
/// CRC-32. What could not be read is a Damage, too. If a save by dcp replaces
/// the checkpoint meanwhile, the new one is checked instead, once.
///
/// Reads with several threads, past the page cache as a load does, within
/// options.io.max_buffer_nbytes and what one compressed item takes.
/// \error kNotFound  there is no checkpoint
/// \error kInvalidArgument, kUnimplemented  a file that torch.save did not
///     write, or of which only torch can read all
/// Other errors mean that nothing can be said, e.g. of a directory that may
/// not be listed.
StatusOr<VerifyReport> Verify(const std::string& path,
                              const VerifyOptions& options = {},
                              StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_VERIFY_H_
