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

#include <utility>

#include "base/wire.h"

namespace dcp {
namespace {

constexpr uint8_t kTypeMask = 0x03;
constexpr uint8_t kProperties = 0x04;
constexpr uint8_t kGlobalSize = 0x08;
constexpr uint8_t kKnownFlags = 0x0f;

bool IsCountable(const KeyEntry& entry) {
  return PlainNbytesOf(entry.global_size, entry.itemsize()) >= 0;
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
  out.PutFlag(plan.planner_data.has_value());
  if (plan.planner_data) PutPaths(*plan.planner_data, &out);
  PutTies(plan.ties, &out);
  return std::move(out).Take();
}

KeyEntry GetEntry(const KeyEntry& previous, const Dims& size, WireReader* in) {
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
    entry.global_size = (flags & kGlobalSize) != 0 ? in->GetDims() : size;
  }
  entry.repeats_size = !entry.is_object() && !previous.is_object() &&
                       entry.global_size == previous.global_size;
  entry.is_countable = IsCountable(entry);
  return entry;
}

}  // namespace dcp
