// A directory of safetensors files, seen as a checkpoint.

#ifndef DCP_STORAGE_HUGGING_FACE_DIRECTORY_H_
#define DCP_STORAGE_HUGGING_FACE_DIRECTORY_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/sidecar.h"

namespace dcp {

/// The index to go by in a directory with these entries, nullopt if there is
/// none. `directory` is for the message.
/// \error kInvalidArgument  several, none of them of the usual name
StatusOr<std::optional<std::string>> ChooseSafetensorsIndex(
    std::span<const DirectoryEntry> entries, const std::string& directory);

/// The names of the safetensors files among `entries`, sorted.
std::vector<std::string> SafetensorsNames(
    std::span<const DirectoryEntry> entries);

/// Whether a directory with these entries holds safetensors files, or an index
/// of such.
bool HasSafetensors(std::span<const DirectoryEntry> entries);

/// What a directory of safetensors files holds.
struct HuggingFaceCheckpoint {
  /// From the headers; `storage_data` says where each tensor's bytes lie.
  Metadata metadata;
  /// Of the files that a save of ours wrote; without files if none did.
  Sidecar sidecar;
};

/// What a sidecar is for.
enum class SidecarUse : uint8_t {
  kCheck,  ///< headers are checked by it
  kFind,   ///< it is read, for who checks whole files
  kIgnore,
};

/// Told of what is wrong with one file. If it returns OK, the reading goes on
/// without that file, else it ends with what is returned. Empty: it ends.
using OnFileDamage = std::function<Status(const Status& damage)>;

/// Reads the headers of the safetensors files in `directory`.
///
/// 1. With an index (`model.safetensors.index.json`, or the only
///    `*.safetensors.index.json`) the tensors are those that it lists, each in
///    the file that it names. Other files, and what else is in these, do not
///    count: they may be left of another model.
/// 2. Without one, all `*.safetensors` files count. No tensor may be there
///    twice, and of files whose names count them none may be missing.
/// 3. Files that ranks wrote for themselves (HuggingFaceWriterOptions::
///    file_per_rank, torch's save_distributed) say in DCP_SHARDING_INFO where
///    in its tensor each of their parts belongs; a tensor is as large as its
///    parts reach.
///
/// 4. Files of a save of ours that has not published its index do not count.
///
/// Links are followed as OpenOptions::beneath has it, from the checkpoint or,
/// in a hub cache, from its `models--*` folder.
/// \error kNotFound  no such file
/// \error kInvalidArgument  several indices; a name that leaves the directory
/// \error kDataLoss  a file or the index is malformed, the index names a file
///     or tensor that is not there, files contradict each other, or their
///     sidecar
StatusOr<HuggingFaceCheckpoint> ReadHuggingFaceDirectory(
    FileSystem& file_system, const std::string& directory, SidecarUse use,
    const OnFileDamage& on_damage = {});

/// The same of the one file `name`, whatever is beside it.
StatusOr<HuggingFaceCheckpoint> ReadHuggingFaceFile(
    FileSystem& file_system, const std::string& directory,
    const std::string& name);

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_DIRECTORY_H_
