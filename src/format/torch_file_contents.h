// TorchFileContents: the state dict in a file of torch.save.

#ifndef DCP_FORMAT_TORCH_FILE_CONTENTS_H_
#define DCP_FORMAT_TORCH_FILE_CONTENTS_H_

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/status.h"
#include "format/tensor_pickle.h"
#include "format/zip_reader.h"

namespace dcp {

/// A record that holds a storage. Offsets are of the file.
struct TorchStorage {
  int64_t offset = 0;
  int64_t nbytes = 0;
  uint32_t crc32 = 0;  ///< 0: not recorded
};

struct TorchFileTensor {
  std::string fqn;
  ObjectPath path;
  TensorPickle tensor;  ///< lies in the storage `tensor.storage_key`
};

struct TorchFileObject {
  std::string fqn;
  ObjectPath path;
  std::string item;  ///< as torch.save makes it of the object alone
};

struct TorchFileContents {
  /// In the order of the state dict: positions in `tensors`, and those in
  /// `objects` negative, from -1 on.
  std::vector<int64_t> order;
  std::vector<TorchFileTensor> tensors;
  std::vector<TorchFileObject> objects;
  std::unordered_map<std::string, TorchStorage> storages;  ///< by key
};

/// Reads all but the storages of tensors. Those that objects hold are read.
/// \error see MakeTorchFileReader, ReadIndex
StatusOr<TorchFileContents> ReadTorchFile(ItemSource& source, int64_t nbytes);

}  // namespace dcp

#endif  // DCP_FORMAT_TORCH_FILE_CONTENTS_H_
