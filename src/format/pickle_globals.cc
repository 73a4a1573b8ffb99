#include "format/pickle_globals.h"

#include <algorithm>
#include <array>
#include <span>

namespace dcp {
namespace {

using enum PickleGlobal;

struct Known {
  std::string_view name;
  PickleGlobal global;
};

// torch 2.13 distributed/checkpoint/metadata.py; torch 1.13 had the module at
// torch.distributed._shard.checkpoint.metadata.
constexpr std::array kMetadataModule = {
    Known{"Metadata", kMetadata},
    Known{"TensorStorageMetadata", kTensorStorageMetadata},
    Known{"BytesStorageMetadata", kBytesStorageMetadata},
    Known{"ChunkStorageMetadata", kChunkStorageMetadata},
    Known{"TensorProperties", kTensorProperties},
    Known{"_MEM_FORMAT_ENCODING", kMemFormatEncoding},
    Known{"MetadataIndex", kMetadataIndex},
    Known{"StorageMeta", kStorageMeta},
};
// Until torch 2.2.
constexpr std::array kShardedTensorModule = {
    Known{"TensorProperties", kTensorProperties},
    Known{"MEM_FORMAT_ENCODING", kMemFormatEncoding},
};
constexpr std::array kFilesystemModule = {
    Known{"_StorageInfo", kStorageInfo},
};
// Megatron-LM derives from torch's class to add `mcore_data`.
constexpr std::array kMegatronModule = {
    Known{"MCoreMetadata", kMetadata},
};
constexpr std::array kTorchModule = {
    Known{"Size", kSize},
};
constexpr std::array kTorchStorageModule = {
    Known{"UntypedStorage", kUntypedStorage},
};
constexpr std::array kTorchSerializationModule = {
    Known{"_get_layout", kGetLayout},
};
constexpr std::array kTorchUtilsModule = {
    Known{"_rebuild_tensor", kRebuildTensor},
    Known{"_rebuild_tensor_v2", kRebuildTensorV2},
    Known{"_rebuild_tensor_v3", kRebuildTensorV3},
    Known{"_rebuild_parameter", kRebuildParameter},
    Known{"_rebuild_parameter_with_state", kRebuildParameterWithState},
};
// Python 3.13 pickles paths as pathlib._local.*, others as pathlib.*.
constexpr std::array kPathlibModule = {
    Known{"PosixPath", kPosixPath},
    Known{"PurePosixPath", kPosixPath},
    Known{"Path", kPosixPath},
    Known{"WindowsPath", kWindowsPath},
    Known{"PureWindowsPath", kWindowsPath},
};
constexpr std::array kCollectionsModule = {
    Known{"OrderedDict", kOrderedDict},
};
constexpr std::array kCodecsModule = {
    Known{"encode", kCodecsEncode},
};
// Of builtins only harmless names; the rest (eval, exec, __import__, open) is
// forbidden.
constexpr std::array kBuiltinsModule = {
    Known{"getattr", kGetattr},
    Known{"bytes", kBytesClass},
    Known{"set", kForeign},
    Known{"frozenset", kForeign},
    Known{"bytearray", kForeign},
    Known{"complex", kForeign},
    Known{"slice", kForeign},
    Known{"range", kForeign},
    Known{"object", kForeign},
    Known{"int", kForeign},
    Known{"float", kForeign},
    Known{"bool", kForeign},
    Known{"str", kForeign},
    Known{"list", kForeign},
    Known{"tuple", kForeign},
    Known{"dict", kForeign},
    Known{"type", kForeign},
    Known{"Ellipsis", kForeign},
    Known{"NotImplemented", kForeign},
};

// The one harmless name of a module that is forbidden otherwise.
constexpr std::array kIoModule = {
    Known{"BytesIO", kForeign},
};

struct Module {
  std::string_view name;
  std::span<const Known> names;
};
constexpr std::array kModules = {
    Module{"torch.distributed.checkpoint.metadata", kMetadataModule},
    Module{"torch.distributed._shard.checkpoint.metadata", kMetadataModule},
    Module{"torch.distributed._shard.sharded_tensor.metadata",
           kShardedTensorModule},
    Module{"torch.distributed.checkpoint.filesystem", kFilesystemModule},
    Module{"torch.distributed._shard.checkpoint.filesystem", kFilesystemModule},
    Module{"megatron.core.dist_checkpointing.strategies.torch",
           kMegatronModule},
    Module{"torch", kTorchModule},
    Module{"torch.storage", kTorchStorageModule},
    Module{"torch.serialization", kTorchSerializationModule},
    Module{"torch._utils", kTorchUtilsModule},
    Module{"pathlib", kPathlibModule},
    Module{"pathlib._local", kPathlibModule},
    Module{"collections", kCollectionsModule},
    Module{"_codecs", kCodecsModule},
    Module{"_io", kIoModule},
};

// Nothing of these is ever in a checkpoint; naming one is an attack (or a
// mistake that torch would execute).
constexpr std::array<std::string_view, 34> kForbiddenModules = {
    "_io",
    "_pickle",
    "_posixsubprocess",
    "asyncio",
    "code",
    "codeop",
    "commands",
    "ctypes",
    "distutils",
    "ftplib",
    "http",
    "imp",
    "importlib",
    "io",
    "marshal",
    "multiprocessing",
    "nt",
    "os",
    "pickle",
    "pip",
    "pkgutil",
    "posix",
    "pty",
    "pydoc",
    "runpy",
    "shutil",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "timeit",
    "urllib",
    "webbrowser",
};

std::optional<PickleGlobal> FindIn(std::span<const Known> names,
                                   std::string_view name) {
  for (const Known& known : names) {
    if (known.name == name) return known.global;
  }
  return std::nullopt;
}

/// torch names that are spelled like a dtype: lower case with digits.
bool LooksLikeDType(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  return std::all_of(name.begin(), name.end(), is_allowed) &&
         name.find_first_of("0123456789") != name.npos;
}

std::optional<GlobalId> FindTorchType(std::string_view name) {
  if (auto dtype = ParseDType(name)) return GlobalId{kDType, *dtype};
  if (!name.ends_with("Storage")) return std::nullopt;
  for (const DTypeInfo& info : AllDTypes()) {
    if (info.storage_class == name) return GlobalId{kStorageClass, info.dtype};
  }
  return std::nullopt;
}

bool IsForbiddenModule(std::string_view module) {
  const std::string_view root = module.substr(0, module.find('.'));
  return std::find(kForbiddenModules.begin(), kForbiddenModules.end(), root) !=
         kForbiddenModules.end();
}

}  // namespace

GlobalId FindPickleGlobal(std::string_view module, std::string_view name) {
  // Python 2's name of the module, which protocol 2 still writes.
  if (module == "builtins" || module == "__builtin__") {
    return {FindIn(kBuiltinsModule, name).value_or(kForbidden)};
  }
  for (const Module& known : kModules) {
    if (known.name != module) continue;
    if (auto global = FindIn(known.names, name)) return {*global};
  }
  if (module == "torch" || module == "torch.storage") {
    if (auto id = FindTorchType(name)) return *id;
    if (module == "torch" && LooksLikeDType(name)) return {kUnknownDType};
  }
  return {IsForbiddenModule(module) ? kForbidden : kForeign};
}

}  // namespace dcp
