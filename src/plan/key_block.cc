// On the wire (base/wire.h, plan_wire.h):
//
//   count of entries, then each:
//     u8 flags: bits 0-1 WriteItemType, then what differs from the entry before
//     key
//     [kProperties]  properties
//     [kGlobalSize]  dims; not of an object
//   u8 whether planner_data follows, then paths
//   ties

#include "plan/key_block.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"

namespace dcp {
namespace {

constexpr uint8_t kTypeMask = 0x03;
constexpr uint8_t kProperties = 0x04;
constexpr uint8_t kGlobalSize = 0x08;
constexpr uint8_t kKnownFlags = 0x0f;

// A block's memory grows with the bytes that were read, not with their count.
constexpr size_t kMaxReserve = 4096;

bool IsCountable(const KeyEntry& entry) {
  int64_t nbytes = 0;
  const std::optional<int64_t> numel = CheckedNumel(entry.global_size);
  return numel && !__builtin_mul_overflow(*numel, entry.itemsize(), &nbytes);
}

void PutEntry(const WriteItem& item, const WriteItem& previous,
              WireWriter* out) {
  auto flags = static_cast<uint8_t>(item.type);
  const bool has_size = item.type != WriteItemType::kByteIo &&
                        item.global_size != previous.global_size;
  if (item.properties != previous.properties) flags |= kProperties;
  if (has_size) flags |= kGlobalSize;
  out->PutU8(flags);
  PutKey(item.fqn, previous.fqn, out);
  if ((flags & kProperties) != 0) PutProperties(item.properties, out);
  if (has_size) out->PutDims(item.global_size);
}

/// `size` is the global size of the tensor before, and becomes that of this.
KeyEntry GetEntry(const KeyEntry& previous, Dims* size, WireReader* in) {
  KeyEntry entry;
  const uint8_t flags = in->U8();
  const uint8_t type = flags & kTypeMask;
  if (type == 0 || (flags & ~kKnownFlags) != 0) in->Fail();
  entry.type = static_cast<WriteItemType>(type);
  entry.fqn = GetKey(previous.fqn, in);
  entry.properties =
      (flags & kProperties) != 0 ? GetProperties(in) : previous.properties;
  if (entry.is_object()) {
    if ((flags & kGlobalSize) != 0) in->Fail();
  } else {
    if ((flags & kGlobalSize) != 0) *size = in->GetDims();
    entry.global_size = *size;
  }
  entry.repeats_size = !entry.is_object() && !previous.is_object() &&
                       entry.global_size == previous.global_size;
  entry.is_countable = IsCountable(entry);
  return entry;
}

}  // namespace

std::string SerializeKeyBlock(const SavePlan& plan) {
  WireWriter out;
  out.PutVarint(plan.items.size());
  WriteItem previous;
  for (const WriteItem& item : plan.items) {
    PutEntry(item, previous, &out);
    previous.fqn = item.fqn;
    previous.properties = item.properties;
    if (item.type != WriteItemType::kByteIo) {
      previous.global_size = item.global_size;
    }
  }
  out.PutU8(plan.planner_data ? 1 : 0);
  if (plan.planner_data) PutPaths(*plan.planner_data, &out);
  PutTies(plan.ties, &out);
  return std::move(out).Take();
}

StatusOr<KeyBlock> ParseKeyBlock(std::string_view data) {
  WireReader in(data, "the keys of a save plan");
  KeyBlock block;
  const size_t count = in.Count(3);
  block.entries.reserve(std::min(count, kMaxReserve));
  // Nothing repeats the size of an object.
  const KeyEntry before_first{.type = WriteItemType::kByteIo};
  Dims size;
  for (size_t i = 0; in.ok() && i < count; ++i) {
    block.entries.push_back(
        GetEntry(i == 0 ? before_first : block.entries.back(), &size, &in));
  }
  const uint8_t has_paths = in.U8();
  if (has_paths > 1) in.Fail();
  if (in.ok() && has_paths == 1) block.planner_data = GetPaths(&in);
  block.ties = GetTies(&in);
  DCP_RETURN_IF_ERROR(in.Finish());
  return block;
}

}  // namespace dcp
