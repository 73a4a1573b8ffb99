// On the wire (base/wire.h): layouts (order_layouts.cc); count, then each
// entry: key, path, u8 kind, then
//   kObject   string
//   kTensor   u8 dtype, u8 op, u8 type, u8 requires_grad, dims of sizes,
//             strides, global size and offsets, varint number of the layout,
//             varint place in the memory
//   kEncoded  the same, and varint length of the bytes there

#include "checkpoint/order_entries.h"

#include <optional>
#include <utility>
#include <variant>

#include "base/wire.h"
#include "checkpoint/order_fields.h"
#include "checkpoint/order_layouts.h"

namespace dcp {
namespace {

enum class EntryKind : uint8_t { kObject, kTensor, kEncoded };

void PutPath(WireWriter& out, const ObjectPath& path) {
  out.PutVarint(path.size());
  for (const PathItem& item : path) {
    const auto* index = std::get_if<int64_t>(&item);
    out.PutFlag(index != nullptr);
    if (index != nullptr) {
      out.PutSigned(*index);
    } else {
      out.PutString(std::get<std::string>(item));
    }
  }
}

ObjectPath GetPath(WireReader& in) {
  ObjectPath path;
  for (size_t left = in.Count(2); in.ok() && left > 0; --left) {
    if (in.Flag()) {
      path.emplace_back(in.Signed());
    } else {
      path.emplace_back(std::string(in.String()));
    }
  }
  return path;
}

/// Where `data` lies in `memory`; 0 for a tensor without elements.
uint64_t PlaceOf(const void* data, std::span<const std::byte> memory) {
  const auto place = reinterpret_cast<uintptr_t>(data) -
                     reinterpret_cast<uintptr_t>(memory.data());
  return place <= memory.size() ? place : 0;
}

void PutTensor(WireWriter& out, const TensorShard& shard,
               const OrderLayouts& layouts, std::span<const std::byte> memory) {
  const TensorView& view = shard.view;
  out.PutU8(static_cast<uint8_t>(shard.encoded ? EntryKind::kEncoded
                                               : EntryKind::kTensor));
  out.PutU8(static_cast<uint8_t>(view.dtype));
  out.PutU8(static_cast<uint8_t>(view.op));
  out.PutU8(static_cast<uint8_t>(shard.type));
  out.PutFlag(shard.requires_grad);
  out.PutDims(view.sizes);
  out.PutDims(view.strides);
  out.PutDims(shard.global_size);
  out.PutDims(shard.offsets);
  out.PutVarint(layouts.NumberOf(shard));
  const void* data = view.data;
  if (shard.encoded) data = shard.encoded->data();
  out.PutVarint(PlaceOf(data, memory));
  if (shard.encoded) out.PutVarint(shard.encoded->size());
}

/// Whether all elements of `view`, the first of which is `place` bytes after
/// the beginning, lie in `nbytes` bytes.
bool LiesIn(const TensorView& view, uint64_t place, size_t nbytes) {
  if (view.strides.size() != view.sizes.size()) return false;
  const std::optional<int64_t> numel = CheckedNumel(view.sizes);
  if (!numel || *numel == 0) return numel.has_value();
  __int128 first = 0;
  __int128 last = 1;
  for (int d = 0; d < view.sizes.size(); ++d) {
    // Both are below 2^63, and there are 64 of them at most.
    const __int128 reach =
        static_cast<__int128>(view.sizes[d] - 1) * view.strides[d];
    constexpr __int128 kMost = __int128{1} << 64;
    if (reach > kMost || reach < -kMost) return false;
    (reach < 0 ? first : last) += reach;
  }
  const auto item = static_cast<__int128>(ItemSize(view.dtype));
  const auto begin = static_cast<__int128>(place);
  return begin + first * item >= 0 &&
         begin + last * item <= static_cast<__int128>(nbytes);
}

/// What entries refer to.
struct OrderParts {
  MeshLayouts layouts;
  std::span<std::byte> memory;
};

TensorShard GetTensor(WireReader& in, EntryKind kind, const OrderParts& parts) {
  const std::span<std::byte> memory = parts.memory;
  TensorShard shard;
  shard.view.dtype = GetDType(in);
  shard.view.op = GetEnum(in, ElementOp::kNeg);
  shard.type = GetEnum(in, WriteItemType::kShard);
  if (shard.type < WriteItemType::kTensor) in.Fail();
  shard.requires_grad = in.Flag();
  shard.view.sizes = in.GetDims();
  shard.view.strides = in.GetDims();
  shard.global_size = in.GetDims();
  shard.offsets = in.GetDims();
  const uint64_t layout = in.Varint();
  if (layout > parts.layouts.size()) in.Fail();
  if (in.ok() && layout > 0) shard.layout = parts.layouts[layout - 1];
  const uint64_t place = in.Varint();
  if (place > memory.size()) in.Fail();
  if (!in.ok()) return {};
  shard.view.data = memory.data() + place;
  if (kind == EntryKind::kTensor) {
    if (!LiesIn(shard.view, place, memory.size())) in.Fail();
    return shard;
  }
  const uint64_t nbytes = in.Varint();
  if (nbytes > memory.size() - place) in.Fail();
  if (!in.ok()) return {};
  shard.encoded = std::string_view(
      reinterpret_cast<const char*>(memory.data() + place), nbytes);
  return shard;
}

SaveEntry GetEntry(WireReader& in, const OrderParts& parts) {
  SaveEntry entry{.fqn = std::string(in.String()), .path = GetPath(in)};
  const auto kind = GetEnum(in, EntryKind::kEncoded);
  if (kind == EntryKind::kObject) {
    entry.value = SerializedObject{OwnedView{.view = in.String()}};
  } else {
    entry.value = GetTensor(in, kind, parts);
  }
  return entry;
}

}  // namespace

std::string SerializeOrderEntries(std::span<const SaveEntry> entries,
                                  std::span<const std::byte> memory) {
  WireWriter list;
  const OrderLayouts layouts(entries);
  layouts.Put(list);
  list.PutVarint(entries.size());
  for (const SaveEntry& entry : entries) {
    list.PutString(entry.fqn);
    PutPath(list, entry.path);
    if (const auto* shard = std::get_if<TensorShard>(&entry.value)) {
      PutTensor(list, *shard, layouts, memory);
    } else {
      list.PutU8(static_cast<uint8_t>(EntryKind::kObject));
      list.PutString(std::get<SerializedObject>(entry.value).view());
    }
  }
  return std::move(list).Take();
}

StatusOr<std::vector<SaveEntry>> ParseOrderEntries(
    std::string_view data, std::span<std::byte> memory) {
  WireReader in(data, "the entries of an order to save");
  const OrderParts parts{.layouts = GetLayouts(in), .memory = memory};
  const size_t count = in.Count(3);
  std::vector<SaveEntry> entries;
  for (size_t i = 0; in.ok() && i < count; ++i) {
    entries.push_back(GetEntry(in, parts));
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return entries;
}

}  // namespace dcp
