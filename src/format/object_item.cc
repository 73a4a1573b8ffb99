#include "format/object_item.h"

#include <algorithm>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "format/pickle_copier.h"
#include "format/pickle_writer.h"
#include "format/torch_archive.h"
#include "format/utf8.h"
#include "format/zip_writer.h"

namespace dcp {
namespace {

using enum PickleOp;

constexpr size_t kMaxStringNbytes = size_t{1} << 30;
constexpr size_t kBatch = 1000;
/// Tuples lie on the stack whole: half of what ReadPickle allows.
constexpr size_t kMaxTupleSize = 500'000;

/// Writes values in protocol 2, with opcodes that torch's weights_only
/// unpickler knows (torch 2.13 _weights_only_unpickler.py).
class ObjectPickler {
 public:
  Status Write(const ObjectValue& value, int depth) {
    if (depth > kMaxObjectDepth) {
      return InvalidArgument("an object is nested deeper than " +
                             std::to_string(kMaxObjectDepth) + " containers");
    }
    return std::visit(
        [this, depth](const auto& held) { return Put(held, depth); },
        value.value);
  }

  std::string Finish() && { return std::move(out_).Finish(); }

 private:
  Status Put(const ObjectNone& /*value*/, int /*depth*/) {
    out_.None();
    return absl::OkStatus();
  }

  Status Put(bool value, int /*depth*/) {
    out_.Bool(value);
    return absl::OkStatus();
  }

  Status Put(int64_t value, int /*depth*/) {
    out_.Int(value);
    return absl::OkStatus();
  }

  Status Put(double value, int /*depth*/) {
    out_.Float(value);
    return absl::OkStatus();
  }

  Status Put(const std::string& value, int /*depth*/) {
    if (!IsValidUtf8(value)) {
      return InvalidArgument("a str is not UTF-8: " + value);
    }
    if (value.size() >= kMaxStringNbytes) {
      return InvalidArgument("a str of 1 GiB or more");
    }
    out_.String(value);
    return absl::OkStatus();
  }

  Status Put(const ObjectBytes& value, int /*depth*/) {
    if (value.data.size() >= kMaxStringNbytes) {
      return InvalidArgument("bytes of 1 GiB or more");
    }
    PutPickledBytes(value.data, &out_);
    return absl::OkStatus();
  }

  Status Put(const ObjectList& value, int depth) {
    out_.Op(kEmptyList);
    for (size_t i = 0; i < value.items.size(); ++i) {
      if (i % kBatch == 0) BeginBatch(i, kAppends);
      DCP_RETURN_IF_ERROR(Write(value.items[i], depth + 1));
    }
    if (!value.items.empty()) out_.Op(kAppends);
    return absl::OkStatus();
  }

  Status Put(const ObjectTuple& value, int depth) {
    const size_t count = value.items.size();
    if (count > kMaxTupleSize) {
      return InvalidArgument("a tuple of " + std::to_string(count) +
                             " items; use a list");
    }
    if (count > 3) out_.Op(kMark);
    for (const ObjectValue& item : value.items) {
      DCP_RETURN_IF_ERROR(Write(item, depth + 1));
    }
    out_.Tuple(static_cast<int>(std::min<size_t>(count, 4)));
    return absl::OkStatus();
  }

  Status Put(const ObjectDict& value, int depth) {
    out_.Op(kEmptyDict);
    std::unordered_set<std::string_view> keys;
    for (size_t i = 0; i < value.items.size(); ++i) {
      if (i % kBatch == 0) BeginBatch(i, kSetItems);
      const auto& [key, item] = value.items[i];
      if (!keys.insert(key).second) {
        return InvalidArgument("a dict has the key \"" + key + "\" twice");
      }
      DCP_RETURN_IF_ERROR(Put(key, depth));
      DCP_RETURN_IF_ERROR(Write(item, depth + 1));
    }
    if (!value.items.empty()) out_.Op(kSetItems);
    return absl::OkStatus();
  }

  /// As CPython, lists and dicts are filled in batches, to keep the reader's
  /// stack low. `end` ends the batch before, if there is one.
  void BeginBatch(size_t position, PickleOp end) {
    if (position > 0) out_.Op(end);
    out_.Op(kMark);
  }

  PickleWriter out_{PickleProtocol::k2, 256};
};

}  // namespace

StatusOr<std::string> EncodeObjectItem(const ObjectValue& value) {
  ObjectPickler pickler;
  DCP_RETURN_IF_ERROR(pickler.Write(value, 0));
  return EncodePickleItem(std::move(pickler).Finish(), {});
}

std::string EncodePickleItem(std::string_view pickle,
                             std::span<const std::string> storages) {
  std::vector<ZipRecord> records(kArchiveHeadCount + storages.size() +
                                 kArchiveTailCount);
  const auto data =
      std::span(records).subspan(kArchiveHeadCount, storages.size());
  const auto tail = std::span(records).last(kArchiveTailCount);
  std::vector<std::string> names(storages.size());
  FillHead(pickle, records);
  for (size_t i = 0; i < data.size(); ++i) {
    names[i] = "archive/data/" + std::to_string(i);
    data[i] = {.name = names[i],
               .nbytes = static_cast<int64_t>(storages[i].size()),
               .crc32 = Crc32(0, std::as_bytes(std::span(storages[i])))};
  }
  FillTail(tail);
  const ZipLayout layout = LayoutZip(records, 0);
  std::string item(static_cast<size_t>(layout.nbytes), '\0');
  const ZipWindow window{.bytes = std::as_writable_bytes(std::span(item))};
  PutHead(records, pickle, window);
  for (size_t i = 0; i < data.size(); ++i) {
    PutZipHeader(data[i], window);
    PutZipData(data[i], storages[i], window);
    PutZipDescriptor(data[i], window);
  }
  PutTail(SerializationId(records[0].crc32, 0), tail, window);
  PutZipDirectory(records, layout, window);
  return item;
}

}  // namespace dcp
