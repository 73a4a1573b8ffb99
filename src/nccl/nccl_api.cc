#include "nccl/nccl_api.h"

#include <dlfcn.h>

namespace dcp {
namespace {

constexpr int kOldest = 21800;  // 2.18.0: ncclCommSplit
constexpr int kNextMajor = 30000;

/// Looks symbols up, and remembers the first one that is missing.
struct Symbols {
  template <typename Function>
  void LookUp(const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library, name));
    if (function == nullptr && missing == nullptr) missing = name;
  }
  void* library;
  const char* missing = nullptr;
};

const char* LookUpNccl(void* library, NcclApi* api) {
  Symbols symbols{.library = library};
  symbols.LookUp("ncclGetErrorString", api->get_error_string);
  symbols.LookUp("ncclGetLastError", api->get_last_error);
  symbols.LookUp("ncclCommCount", api->comm_count);
  symbols.LookUp("ncclCommUserRank", api->comm_user_rank);
  symbols.LookUp("ncclCommCuDevice", api->comm_cu_device);
  symbols.LookUp("ncclCommSplit", api->comm_split);
  symbols.LookUp("ncclCommGetAsyncError", api->comm_get_async_error);
  symbols.LookUp("ncclCommFinalize", api->comm_finalize);
  symbols.LookUp("ncclCommDestroy", api->comm_destroy);
  symbols.LookUp("ncclCommAbort", api->comm_abort);
  symbols.LookUp("ncclGroupStart", api->group_start);
  symbols.LookUp("ncclGroupEnd", api->group_end);
  symbols.LookUp("ncclAllGather", api->all_gather);
  symbols.LookUp("ncclBroadcast", api->broadcast);
  symbols.LookUp("ncclSend", api->send);
  symbols.LookUp("ncclRecv", api->recv);
  return symbols.missing;
}

/// A handle for dlsym, which may be null: RTLD_DEFAULT.
StatusOr<void*> FindLibrary(const std::string& library) {
  if (library.empty() && dlsym(RTLD_DEFAULT, "ncclGetVersion") != nullptr) {
    return RTLD_DEFAULT;
  }
  const std::string name = library.empty() ? "libnccl.so.2" : library;
  void* const handle =
      dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  if (handle != nullptr) return handle;
  return FailedPrecondition(
      "NCCL (" + name +
      ") is not loaded in this process, so it did not make the communicator: "
      "give the file of the one that did as nccl_library");
}

std::string VersionText(int version) {
  // NCCL_VERSION of nccl.h: other places before 2.9.
  const int thousand = version < 10000 ? 1000 : 10000;
  return std::to_string(version / thousand) + "." +
         std::to_string(version % thousand / 100) + "." +
         std::to_string(version % 100);
}

}  // namespace

StatusOr<NcclApi> FindNccl(const std::string& library) {
  DCP_ASSIGN_OR_RETURN(void* const handle, FindLibrary(library));
  const std::string name =
      "NCCL (" + (library.empty() ? "libnccl.so.2" : library) + ")";
  NcclApi api;
  Symbols symbols{.library = handle};
  symbols.LookUp("ncclGetVersion", api.get_version);
  int version = 0;
  if (api.get_version == nullptr || api.get_version(&version) != kNcclSuccess) {
    return FailedPrecondition(name + " does not tell its version");
  }
  if (version < kOldest || version >= kNextMajor) {
    return Unimplemented(name + " is version " + VersionText(version) +
                         ": a transport needs 2.18 or later, below 3");
  }
  if (const char* missing = LookUpNccl(handle, &api)) {
    return FailedPrecondition(name + " lacks " + missing);
  }
  return api;
}

Status CheckNccl(const NcclApi& api, NcclResult result, const char* call,
                 NcclComm comm) {
  if (result == kNcclSuccess || result == kNcclInProgress) {
    return absl::OkStatus();
  }
  const bool is_remote =
      result == kNcclRemoteError || result == kNcclSystemError;
  std::string text = std::string(call) + ": " + api.get_error_string(result) +
                     " (" + std::to_string(result) + ")";
  const char* const last = api.get_last_error(comm);
  if (last != nullptr && *last != '\0') text += ": " + std::string(last);
  return MakeStatus(
      is_remote ? absl::StatusCode::kAborted : absl::StatusCode::kUnknown,
      text);
}

}  // namespace dcp
