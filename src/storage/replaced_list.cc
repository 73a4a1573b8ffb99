#include "storage/replaced_list.h"

#include <memory>
#include <span>
#include <utility>

#include "base/checksum.h"
#include "base/wire.h"
#include "io/paths.h"

namespace dcp {
namespace {

uint32_t CrcOf(std::string_view data) {
  return Crc32(0, std::as_bytes(std::span(data)));
}

}  // namespace

std::string SerializeReplacedList(const std::vector<ListedFile>& files) {
  WireWriter out;
  out.PutVarint(files.size());
  for (const ListedFile& file : files) {
    out.PutString(file.name);
    out.PutSigned(file.nbytes);
  }
  out.PutU32(CrcOf(out.data()));
  return std::move(out).Take();
}

StatusOr<std::vector<ListedFile>> ParseReplacedList(std::string_view data) {
  constexpr size_t kMinFileNbytes = 2;
  WireReader in(data, "the list of replaced files");
  std::vector<ListedFile> files;
  for (size_t left = in.Count(kMinFileNbytes); left > 0; --left) {
    std::string name(in.String());
    files.push_back({.name = std::move(name), .nbytes = in.Signed()});
    const auto parts = SplitPath(files.back().name);
    if (parts.size() != 1 || parts[0] != files.back().name ||
        parts[0] == "..") {
      in.Fail();
    }
  }
  const size_t nbytes = data.size() - in.remaining();
  if (in.U32() != CrcOf(data.substr(0, nbytes))) in.Fail();
  DCP_RETURN_IF_ERROR(in.Finish());
  return files;
}

StatusOr<int64_t> SizeOfFile(FileSystem& file_system,
                             const std::string& directory,
                             const std::string& name) {
  DCP_ASSIGN_OR_RETURN(const std::unique_ptr<File> file,
                       file_system.Open(JoinPath(directory, name), {}));
  return file->Size();
}

std::vector<ListedFile> ListFiles(FileSystem& file_system,
                                  const std::string& directory,
                                  const std::vector<std::string>& names) {
  std::vector<ListedFile> files;
  for (const std::string& name : names) {
    const auto nbytes = SizeOfFile(file_system, directory, name);
    if (nbytes.ok()) files.push_back({.name = name, .nbytes = *nbytes});
  }
  return files;
}

std::vector<std::string> StillThere(FileSystem& file_system,
                                    const std::string& directory,
                                    const std::vector<ListedFile>& files) {
  std::vector<std::string> names;
  for (const ListedFile& file : files) {
    const auto nbytes = SizeOfFile(file_system, directory, file.name);
    if (nbytes.ok() && *nbytes == file.nbytes) names.push_back(file.name);
  }
  return names;
}

}  // namespace dcp
