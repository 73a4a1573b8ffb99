// Whole files in one call: the small ones, such as `.metadata`.

#include <cerrno>
#include <memory>
#include <string>

#include "base/guarded.h"
#include "dcp/file_system.h"

namespace dcp {
namespace {

Status WriteAndClose(File& file, std::string_view content, SyncMode sync) {
  // An IoSlice is written through for reads only; a write leaves it alone.
  const IoSlice slice{
      reinterpret_cast<std::byte*>(const_cast<char*>(content.data())),
      content.size()};
  DCP_RETURN_IF_ERROR(file.WriteFully(0, {&slice, 1}));
  if (sync == SyncMode::kSync) DCP_RETURN_IF_ERROR(file.Sync());
  return file.Close();
}

Status WriteWhole(FileSystem& fs, const std::string& path, OpenMode mode,
                  std::string_view content, SyncMode sync) {
  DCP_ASSIGN_OR_RETURN(std::unique_ptr<File> file,
                       fs.Open(path, {.mode = mode}));
  const Status status =
      Guarded([&] { return WriteAndClose(*file, content, sync); });
  file.reset();
  // What is left behind is incomplete; `status` says more than a failure to
  // clean up would.
  if (!status.ok() && mode == OpenMode::kCreateNew) (void)fs.Remove(path);
  return status;
}

}  // namespace

StatusOr<std::string> ReadFile(FileSystem& fs, const std::string& path,
                               int64_t max_nbytes, const OpenOptions& options) {
  DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                       fs.Open(path, options));
  DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
  if (nbytes > max_nbytes) {
    return MakeStatus(absl::StatusCode::kResourceExhausted,
                      path + " has " + std::to_string(nbytes) +
                          " B, more than the " + std::to_string(max_nbytes) +
                          " B that are allowed");
  }
  std::string content(static_cast<size_t>(nbytes), '\0');
  const IoSlice slice{reinterpret_cast<std::byte*>(content.data()),
                      content.size()};
  DCP_RETURN_IF_ERROR(file->ReadFully(0, {&slice, 1}));
  DCP_RETURN_IF_ERROR(file->Close());
  return content;
}

Status WriteFile(FileSystem& fs, const std::string& path,
                 std::string_view content, SyncMode sync) {
  return WriteWhole(fs, path, OpenMode::kCreateNew, content, sync);
}

Status ReplaceFile(FileSystem& fs, const std::string& path,
                   std::string_view content, SyncMode sync) {
  return WriteWhole(fs, path, OpenMode::kReplace, content, sync);
}

}  // namespace dcp
