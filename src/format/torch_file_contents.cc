#include "format/torch_file_contents.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "base/printable.h"
#include "format/flat_state.h"
#include "format/object_item.h"
#include "format/pickle_copier.h"
#include "format/pickle_reader.h"
#include "format/torch_item_reader.h"
#include "format/torch_records.h"

namespace dcp {
namespace {

constexpr int64_t kMaxDirectoryNbytes = int64_t{1} << 30;
constexpr int64_t kMaxPickleNbytes = int64_t{1} << 30;
/// Items of objects, all together, beyond what the file holds: values that keys
/// share are copied for each.
constexpr int64_t kMaxSharedNbytes = int64_t{1} << 30;

class TorchFileParser {
 public:
  TorchFileParser(ItemReader& item, const ZipDirectory& directory)
      : item_(item),
        directory_(directory),
        budget_(kMaxSharedNbytes + 4 * item.length()) {}

  StatusOr<TorchFileContents> Parse() && {
    DCP_ASSIGN_OR_RETURN(const TorchRecords records,
                         TorchRecords::Open(item_, directory_));
    DCP_ASSIGN_OR_RETURN(const std::string pickle,
                         records.Read("data.pkl", kMaxPickleNbytes));
    DCP_ASSIGN_OR_RETURN(const bool is_big_endian, records.IsBigEndian());
    if (is_big_endian) {
      return Unimplemented("the file was saved on a big-endian machine");
    }
    DCP_ASSIGN_OR_RETURN(
        const PickleGraph graph,
        ReadPickle(pickle, {.persistent_ids = PersistentIds::kAccept,
                            .max_string_nbytes = pickle.size()}));
    DCP_RETURN_IF_ERROR(FindStorages());
    DCP_ASSIGN_OR_RETURN(std::vector<FlatLeaf> leaves, FlattenState(graph));
    for (FlatLeaf& leaf : leaves) {
      const std::string name = Printable(leaf.fqn);
      const Status added = IsTensorValue(graph, leaf.value)
                               ? AddTensor(graph, leaf)
                               : AddObject(graph, leaf);
      DCP_RETURN_IF_ERROR(Annotate(added, name));
    }
    return std::move(contents_);
  }

 private:
  /// Those of the records "<folder>/data/<key>".
  Status FindStorages() {
    for (const ZipEntry& entry : directory_.entries()) {
      const size_t slash = entry.name.find('/');
      constexpr std::string_view kFolder = "data/";
      if (slash == std::string_view::npos ||
          entry.name.substr(slash + 1, kFolder.size()) != kFolder) {
        continue;
      }
      DCP_ASSIGN_OR_RETURN(const int64_t offset, FindZipData(item_, entry));
      contents_.storages.emplace(
          entry.name.substr(slash + 1 + kFolder.size()),
          TorchStorage{
              .offset = offset, .nbytes = entry.nbytes, .crc32 = entry.crc32});
    }
    return absl::OkStatus();
  }

  StatusOr<const TorchStorage*> StorageOf(const std::string& key) const {
    const auto found = contents_.storages.find(key);
    if (found != contents_.storages.end()) return &found->second;
    return DataLoss("the file has no record data/" + Printable(key));
  }

  Status AddTensor(const PickleGraph& graph, FlatLeaf& leaf) {
    DCP_ASSIGN_OR_RETURN(
        TensorPickle tensor,
        ParseTensorValue(graph, leaf.value, ExpandedTensors::kAccept));
    if (tensor.needs_torch) {
      return Unimplemented("a tensor that only torch can rebuild (" +
                           DescribePickle(graph, leaf.value) +
                           "): quantized, sparse, or of a class of its own");
    }
    DCP_ASSIGN_OR_RETURN(const TorchStorage* storage,
                         StorageOf(tensor.storage_key));
    if (storage->nbytes != tensor.storage_nbytes) {
      return DataLoss("its storage has " + std::to_string(storage->nbytes) +
                      " bytes instead of " +
                      std::to_string(tensor.storage_nbytes));
    }
    contents_.order.push_back(static_cast<int64_t>(contents_.tensors.size()));
    contents_.tensors.push_back({.fqn = std::move(leaf.fqn),
                                 .path = std::move(leaf.path),
                                 .tensor = std::move(tensor)});
    return absl::OkStatus();
  }

  Status AddObject(const PickleGraph& graph, FlatLeaf& leaf) {
    PickleWriter out(PickleProtocol::k2, 256);
    std::vector<std::string> storages;
    std::map<std::string, std::string, std::less<>> keys;  // old ones: new ones
    const auto new_key = [&](std::string_view old) -> StatusOr<std::string> {
      if (const auto known = keys.find(old); known != keys.end()) {
        return known->second;
      }
      DCP_ASSIGN_OR_RETURN(std::string bytes, ReadStorage(std::string(old)));
      storages.push_back(std::move(bytes));
      std::string key = std::to_string(storages.size() - 1);
      keys.emplace(old, key);
      return key;
    };
    DCP_RETURN_IF_ERROR(PickleCopier(graph, out, new_key).Copy(leaf.value));
    std::string item = EncodePickleItem(std::move(out).Finish(), storages);
    budget_ -= static_cast<int64_t>(item.size());
    if (budget_ < 0) {
      return DataLoss("the state dict's values share too much to be copied");
    }
    contents_.order.push_back(-1 -
                              static_cast<int64_t>(contents_.objects.size()));
    contents_.objects.push_back({.fqn = std::move(leaf.fqn),
                                 .path = std::move(leaf.path),
                                 .item = std::move(item)});
    return absl::OkStatus();
  }

  StatusOr<std::string> ReadStorage(const std::string& key) {
    DCP_ASSIGN_OR_RETURN(const TorchStorage* storage, StorageOf(key));
    DCP_ASSIGN_OR_RETURN(const std::string_view data,
                         item_.Read(storage->offset, storage->nbytes));
    const uint32_t crc = Crc32(0, data);
    if (storage->crc32 != 0 && storage->crc32 != crc) {
      return DataLoss("record data/" + Printable(key) +
                      " does not match its CRC-32");
    }
    return std::string(data);
  }

  ItemReader& item_;
  const ZipDirectory& directory_;
  int64_t budget_;
  TorchFileContents contents_;
};

}  // namespace

StatusOr<TorchFileContents> ReadTorchFile(ItemSource& source, int64_t nbytes) {
  ItemReader item(source, nbytes);
  constexpr int64_t kSignatureNbytes = 4;
  DCP_ASSIGN_OR_RETURN(const std::string_view begin,
                       item.Read(0, std::min(nbytes, kSignatureNbytes)));
  if (nbytes < kSignatureNbytes || !MayBeTorchItem(begin)) {
    return InvalidArgument(
        "the file is no archive of torch.save; one of torch before 1.6, or of "
        "_use_new_zipfile_serialization=False, has to be loaded and saved "
        "again "
        "with torch");
  }
  DCP_ASSIGN_OR_RETURN(const ZipDirectory directory,
                       ZipDirectory::Read(item, kMaxDirectoryNbytes));
  return TorchFileParser(item, directory).Parse();
}

}  // namespace dcp
