#include "storage/replaced_list.h"

#include <memory>
#include <utility>

#include "base/wire.h"
#include "format/versioned_file.h"
#include "io/paths.h"

namespace dcp {
namespace {

constexpr VersionedFileKind kKind{.magic = "DCPCPPR\n",
                                  .name = "list of replaced files"};
constexpr uint32_t kMinReaderVersion = 1;

}  // namespace

std::string SerializeReplacedList(const std::vector<ListedFile>& files) {
  WireWriter out;
  PutVersions(kKind, kKind.version, kMinReaderVersion, &out);
  out.PutVarint(files.size());
  for (const ListedFile& file : files) {
    out.PutString(file.name);
    out.PutSigned(file.nbytes);
  }
  return FinishVersionedFile(std::move(out));
}

StatusOr<std::vector<ListedFile>> ParseReplacedList(std::string_view data) {
  constexpr size_t kMinFileNbytes = 2;
  DCP_ASSIGN_OR_RETURN(const VersionedContent content,
                       OpenVersionedFile(kKind, data));
  WireReader in(content.bytes, "the list of replaced files");
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
  // A newer format may append what this reader can do without.
  DCP_RETURN_IF_ERROR(content.version > kKind.version ? in.status()
                                                      : in.Finish());
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
