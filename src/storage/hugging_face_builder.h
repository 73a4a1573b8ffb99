// Puts the headers of safetensors files together to a checkpoint's metadata.

#ifndef DCP_STORAGE_HUGGING_FACE_BUILDER_H_
#define DCP_STORAGE_HUGGING_FACE_BUILDER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/safetensors_header.h"
#include "format/sidecar.h"

namespace dcp {

/// Of the files of one directory, which outlives it, as does `file_system`.
class HuggingFaceBuilder {
 public:
  HuggingFaceBuilder(FileSystem& file_system, const std::string& directory);

  /// The files that are added from now on are checked against what `sidecar`,
  /// which outlives the object, says of them, if it lists them.
  void CheckBy(const Sidecar& sidecar);

  /// Adds what the file `name` holds, or, of that, only `keys`.
  /// \error  see ReadHuggingFaceDirectory
  Status AddFile(const std::string& name, const std::vector<std::string>* keys);

  /// The files that hold whole tensors, as opposed to a rank's parts.
  const std::vector<std::string>& whole_files() const { return whole_files_; }

  Metadata Take() &&;

 private:
  StatusOr<SafetensorsHeader> ReadHeader(const std::string& path,
                                         const SidecarFile* record) const;
  /// Adds one stored tensor, all of a key's or the part at `offsets`.
  Status Add(const SafetensorsTensor& stored, int64_t data_offset,
             const std::optional<Dims>& offsets, const std::string& name);
  Status AddChunk(const std::string& key, DType dtype, const Box& box,
                  const std::string& name);

  FileSystem& file_system_;
  const std::string& directory_;
  const std::string root_;
  Metadata metadata_;
  std::map<std::string, const SidecarFile*, std::less<>> records_;
  std::map<std::string, std::string> files_;    // key -> the first that has it
  std::map<std::string, std::string> aliases_;  // other name -> key
  std::vector<std::string> whole_files_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_BUILDER_H_
