// The Python globals that dcp knows when a pickle names them.
//
// A global is an enum value: nothing is imported, looked up or called.

#ifndef DCP_FORMAT_PICKLE_GLOBALS_H_
#define DCP_FORMAT_PICKLE_GLOBALS_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "dcp/dtype.h"

namespace dcp {

enum class PickleGlobal : uint8_t {
  /// A name that dcp has no meaning for: objects of it are opaque.
  kForeign,
  /// A name that no checkpoint needs and attacks do (posix.system): refused.
  kForbidden,

  // torch.distributed.checkpoint.metadata and .filesystem, and the modules
  // where older versions had them.
  kMetadata,
  kTensorStorageMetadata,
  kBytesStorageMetadata,
  kChunkStorageMetadata,
  kTensorProperties,
  kMemFormatEncoding,
  kMetadataIndex,
  kStorageMeta,
  kStorageInfo,

  kSize,            ///< torch.Size
  kDType,           ///< torch.<dtype>; which one is in GlobalId::dtype
  kUnknownDType,    ///< torch.<name> that looks like a dtype newer than dcp
  kGetLayout,       ///< torch.serialization._get_layout
  kPosixPath,       ///< pathlib.PosixPath, PurePosixPath, Path
  kWindowsPath,     ///< pathlib.WindowsPath, PureWindowsPath
  kOrderedDict,     ///< collections.OrderedDict
  kGetattr,         ///< builtins.getattr: how Python 3.11.0 pickled enums
  kCodecsEncode,    ///< _codecs.encode: how protocol 2 pickles bytes
  kBytesClass,      ///< builtins.bytes: how protocol 2 pickles b""
  kStorageClass,    ///< torch.<X>Storage; its type is in GlobalId::dtype
  kUntypedStorage,  ///< torch.storage.UntypedStorage
  kRebuildTensor,   ///< torch._utils._rebuild_tensor
  kRebuildTensorV2,
  kRebuildTensorV3,
  kRebuildParameter,
  kRebuildParameterWithState,
};

struct GlobalId {
  PickleGlobal global = PickleGlobal::kForeign;
  DType dtype = DType::kFloat32;
};

/// What `module`.`name` is. Cheap: a pickle names each global once.
GlobalId FindPickleGlobal(std::string_view module, std::string_view name);

}  // namespace dcp

#endif  // DCP_FORMAT_PICKLE_GLOBALS_H_
