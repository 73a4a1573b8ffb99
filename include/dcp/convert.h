// Convert: a checkpoint in another format, without a model.

#ifndef DCP_CONVERT_H_
#define DCP_CONVERT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "dcp/checkpoint_format.h"
#include "dcp/dtype.h"
#include "dcp/filesystem_storage.h"
#include "dcp/mapping.h"
#include "dcp/status.h"
#include "dcp/storage.h"
#include "dcp/transport.h"

namespace dcp {

/// Bytes of tensors, as they will be stored.
struct ConvertProgress {
  int64_t nbytes_done = 0;
  int64_t nbytes_total = 0;
};

struct ConvertOptions {
  /// Floating-point tensors become this dtype, rounded as torch does it.
  std::optional<DType> dtype;
  /// What the key `stored` is called in the destination; nullopt: it is left
  /// out. Called for each key, in their order, in the caller's thread, before
  /// anything is written; an error ends the conversion. A key with another name
  /// is a top-level one. Unset: all keys, under their names.
  std::function<StatusOr<std::optional<std::string>>(const std::string& stored)>
      rename;
  /// Set: what the mapping makes of the keys, under the names that `rename`
  /// gives, is written. Of objects it can only drop some, and paths are not
  /// kept. What it takes for another name of a tensor is read and compared with
  /// that: other values are an error. To native, safetensors with quantized
  /// weights for which it has rules (Mapping::dequantizes) are read as floats.
  std::optional<ModelMapping> mapping;
  /// Called now and then, in the caller's thread; an error ends the conversion.
  std::function<Status(const ConvertProgress&)> progress;
};

struct ConvertResult {
  int64_t tensors = 0;  ///< keys of tensors
  int64_t objects = 0;  ///< keys of objects
  int64_t nbytes = 0;   ///< of tensors, as they were stored; tied ones once
};

/// Saves with `writer` what `reader` reads: all keys, their paths, and objects
/// bit by bit. Neither a model nor a process group is needed.
///
/// The tensors are never in memory together: less than 1 GiB is needed, buffers
/// of reading and writing included, whatever their size; objects and quantized
/// tensors excepted, and of compressed checkpoints the largest chunk. One
/// thread reads ahead while others write.
///
/// Everything that a load checks is checked. What is written appears as a whole
/// or not at all, as with Save. `transport` is of one process.
/// \error kDataLoss  the source is damaged
/// \error kUnimplemented  a tensor that only torch can rebuild; names the key
/// \error kInvalidArgument  `rename` leaves nothing, or gives two keys one
/// name;
///     of a writer of safetensors, what these cannot hold; see Mapping::Plan
StatusOr<ConvertResult> Convert(StorageReader& reader, StorageWriter& writer,
                                Transport& transport,
                                const ConvertOptions& options);

/// By the name: ".pt", ".pth" and ".bin" are torch files, others kDcp.
CheckpointFormat GuessCheckpointFormat(std::string_view path);

struct ConvertPaths {
  /// A directory in the native format, dcp's or stock torch's, or of
  /// safetensors files; or a file that torch.save wrote.
  std::string source;
  /// Replaced if it is there, in one step, when everything is written.
  std::string destination;
  std::optional<CheckpointFormat> format;  ///< unset: GuessCheckpointFormat
  /// Of safetensors, see HuggingFaceWriterOptions: which tensor, by its name in
  /// the destination, goes into which file. With a mapping, names that it does
  /// not make are left out, and if one that it makes is not there, files are
  /// divided by size.
  std::map<std::string, int64_t> file_numbers;
  int64_t max_shard_nbytes = 5'000'000'000;  ///< likewise, of one file
  IoOptions io;
};

/// Convert, between paths. `transport` may be of several ranks, which all call
/// it: the coordinator converts while the others wait, and all get its result.
/// \error kInvalidArgument  source and destination are the same, or one of them
///     is a safetensors file instead of its directory; a name in
///     paths.file_numbers is no tensor's
StatusOr<ConvertResult> Convert(const ConvertPaths& paths, Transport& transport,
                                const ConvertOptions& options,
                                StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_CONVERT_H_
