// A save plan on the wire (base/wire.h):
//
//   u8 version, u8 oldest version of a reader that understands it
//   count of items, then each:
//     u8 flags: bits 0-1 WriteItemType, then what differs from the default
//     key       u8 bytes shared with the key before, string of the others
//     [kProperties]  u8 dtype, u8 layout, u8 memory format and booleans
//     [kGlobalSize]  dims; default: those of the item before
//     [kChunk]       dims offsets, dims sizes; default: the whole tensor
//     [kNbytes]      signed; default: elements * itemsize
//     [kSource]      signed; default: one more than the item before
//   u8 whether planner_data follows: count, then by ascending key each:
//     key       as above
//     count of steps, then each: varint length * 2 + (1 if a list index)
//     unless the steps joined by '.' are the key: a string of all steps
//   from version 2 on: count of ties, then each: two strings
//
// Sharing keys is limited to 255 bytes, so that a message cannot expand beyond
// a fixed multiple of its size.

#include <algorithm>
#include <utility>

#include "base/wire.h"
#include "dcp/plan.h"
#include "plan/plan_wire.h"

namespace dcp {
namespace {

constexpr WireVersions kVersions{.newest = 2};

constexpr uint8_t kTypeMask = 0x03;
constexpr uint8_t kProperties = 0x04;
constexpr uint8_t kGlobalSize = 0x08;
constexpr uint8_t kChunk = 0x10;
constexpr uint8_t kNbytes = 0x20;
constexpr uint8_t kSource = 0x40;
constexpr uint8_t kUnknownFlags = 0x80;

// A plan's memory grows with the bytes that were read, not with their count.
constexpr size_t kMaxReserve = 4096;

/// What the first item of a plan is compared with.
WriteItem BeforeFirst() { return {.source = -1}; }

int64_t PlainNbytes(const WriteItem& item) {
  return PlainNbytesOf(item.chunk.sizes, ItemSize(item.properties.dtype));
}

class Encoder {
 public:
  void PutItem(const WriteItem& item, const WriteItem& previous) {
    auto flags = static_cast<uint8_t>(item.type);
    if (item.properties != previous.properties) flags |= kProperties;
    if (item.global_size != previous.global_size) flags |= kGlobalSize;
    if (item.chunk != WholeBox(item.global_size)) flags |= kChunk;
    if (item.nbytes != PlainNbytes(item)) flags |= kNbytes;
    if (item.source != SourceAfter(previous.source)) flags |= kSource;
    out_.PutU8(flags);
    PutKey(item.fqn, previous.fqn, &out_);
    if ((flags & kProperties) != 0) PutProperties(item.properties, &out_);
    if ((flags & kGlobalSize) != 0) out_.PutDims(item.global_size);
    if ((flags & kChunk) != 0) {
      out_.PutDims(item.chunk.offsets);
      out_.PutDims(item.chunk.sizes);
    }
    if ((flags & kNbytes) != 0) out_.PutSigned(item.nbytes);
    if ((flags & kSource) != 0) out_.PutSigned(item.source);
  }

  WireWriter& out() { return out_; }

 private:
  WireWriter out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view data) : in_(data, "a save plan") {}

  WireReader& in() { return in_; }

  WriteItem Item(const WriteItem& previous) {
    WriteItem item;
    const uint8_t flags = in_.U8();
    const uint8_t type = flags & kTypeMask;
    if (type == 0 || (flags & kUnknownFlags) != 0) in_.Fail();
    item.type = static_cast<WriteItemType>(type);
    item.fqn = GetKey(previous.fqn, &in_);
    item.properties =
        (flags & kProperties) != 0 ? GetProperties(&in_) : previous.properties;
    item.global_size =
        (flags & kGlobalSize) != 0 ? in_.GetDims() : previous.global_size;
    item.chunk = (flags & kChunk) != 0
                     ? Box{.offsets = in_.GetDims(), .sizes = in_.GetDims()}
                     : WholeBox(item.global_size);
    item.nbytes = (flags & kNbytes) != 0 ? in_.Signed() : PlainNbytes(item);
    item.source =
        (flags & kSource) != 0 ? in_.Signed() : SourceAfter(previous.source);
    return item;
  }

 private:
  WireReader in_;
};

}  // namespace

std::string SerializeSavePlan(const SavePlan& plan) {
  Encoder encoder;
  PutVersion(kVersions, &encoder.out());
  encoder.out().PutVarint(plan.items.size());
  const WriteItem before_first = BeforeFirst();
  const WriteItem* previous = &before_first;
  for (const WriteItem& item : plan.items) {
    encoder.PutItem(item, *previous);
    previous = &item;
  }
  encoder.out().PutFlag(plan.planner_data.has_value());
  if (plan.planner_data) PutPaths(*plan.planner_data, &encoder.out());
  PutTies(plan.ties, &encoder.out());
  return std::move(encoder.out()).Take();
}

StatusOr<SavePlan> ParseSavePlan(std::string_view data) {
  Decoder decoder(data);
  WireReader& in = decoder.in();
  DCP_ASSIGN_OR_RETURN(const uint8_t version,
                       GetVersion("a save plan", kVersions, &in));
  SavePlan plan;
  const size_t count = in.Count(3);
  plan.items.reserve(std::min(count, kMaxReserve));
  const WriteItem before_first = BeforeFirst();
  for (size_t i = 0; in.ok() && i < count; ++i) {
    plan.items.push_back(
        decoder.Item(i == 0 ? before_first : plan.items.back()));
  }
  if (in.Flag()) plan.planner_data = GetPaths(&in);
  if (version >= 2) plan.ties = GetTies(&in);
  DCP_RETURN_IF_ERROR(in.status());
  // A newer version may append what an old reader does not need.
  if (version <= kVersions.newest) DCP_RETURN_IF_ERROR(in.Finish());
  return plan;
}

}  // namespace dcp
