// On the wire (base/wire.h):
//
//   u8 version, u8 oldest version of a reader that understands it
//   u64 low, u64 high of the block's digest
//   string block; empty: it came with a lower rank's message
//   then of each of the block's entries:
//     u8 flags: bits 0-2 the form of the chunk, then what is not the default
//       kWhole   all of the tensor; an object
//       kSame    that of the entry before, of the same global size
//       kRows    varint first row, varint count; all of the other dimensions
//       kChunk   of each dimension varint 0 for all, or begin + 1, varint size
//       kStray   dims offsets, dims sizes: anything else, which is refused by
//                the planner, with a message
//     [kNbytes]  signed; default: elements * itemsize
//     [kSource]  signed; default: one more than that of the entry before

#include "plan/plan_message.h"

#include <algorithm>
#include <utility>

namespace dcp {
namespace {

// A plan that was a list of items had versions 1 and 2.
constexpr WireVersions kVersions{.oldest = 3, .newest = 3, .oldest_reader = 3};

constexpr uint8_t kFormMask = 0x07;
constexpr uint8_t kWhole = 0;
constexpr uint8_t kSame = 1;
constexpr uint8_t kRows = 2;
constexpr uint8_t kChunk = 3;
constexpr uint8_t kStray = 4;
constexpr uint8_t kNbytes = 0x08;
constexpr uint8_t kSource = 0x10;
constexpr uint8_t kKnownFlags = 0x1f;

bool IsObject(const WriteItem& item) {
  return item.type == WriteItemType::kByteIo;
}

bool IsAllOf(const WriteItem& item, int dim) {
  return item.chunk.offsets[dim] == 0 &&
         item.chunk.sizes[dim] == item.global_size[dim];
}

/// `previous` is null for the first item.
uint8_t FormOf(const WriteItem& item, const WriteItem* previous) {
  if (IsObject(item)) return kWhole;
  if (!InBounds(item.global_size, item.chunk)) return kStray;
  int cut_dims = 0;
  for (int d = 0; d < item.chunk.ndim(); ++d) {
    if (!IsAllOf(item, d)) ++cut_dims;
  }
  if (cut_dims == 0) return kWhole;
  if (previous != nullptr && !IsObject(*previous) &&
      previous->global_size == item.global_size &&
      previous->chunk == item.chunk) {
    return kSame;
  }
  return cut_dims == 1 && !IsAllOf(item, 0) ? kRows : kChunk;
}

void PutChunk(const WriteItem& item, uint8_t form, WireWriter* out) {
  const auto [offsets, sizes] = item.chunk;
  if (form == kRows) {
    out->PutVarint(static_cast<uint64_t>(offsets[0]));
    out->PutVarint(static_cast<uint64_t>(sizes[0]));
  } else if (form == kChunk) {
    for (int d = 0; d < sizes.size(); ++d) {
      if (IsAllOf(item, d)) {
        out->PutVarint(0);
      } else {
        out->PutVarint(static_cast<uint64_t>(offsets[d]) + 1);
        out->PutVarint(static_cast<uint64_t>(sizes[d]));
      }
    }
  } else if (form == kStray) {
    out->PutDims(offsets);
    out->PutDims(sizes);
  }
}

void PutRecord(const WriteItem& item, const WriteItem* previous,
               WireWriter* out) {
  const uint8_t form = FormOf(item, previous);
  auto flags = form;
  const Dims no_sizes;
  const Dims& sizes = IsObject(item) ? no_sizes : item.chunk.sizes;
  if (item.nbytes != PlainNbytesOf(sizes, ItemSize(item.properties.dtype))) {
    flags |= kNbytes;
  }
  if (item.source != SourceAfter(previous == nullptr ? -1 : previous->source)) {
    flags |= kSource;
  }
  out->PutU8(flags);
  PutChunk(item, form, out);
  if ((flags & kNbytes) != 0) out->PutSigned(item.nbytes);
  if ((flags & kSource) != 0) out->PutSigned(item.source);
}

void PutHead(const Digest128& digest, std::string_view block, WireWriter* out) {
  PutVersion(kVersions, out);
  PutDigest(digest, out);
  out->PutString(block);
}

}  // namespace

std::string SerializePlanMessage(const SavePlan& plan) {
  WireWriter out;
  const std::string block = SerializeKeyBlock(plan);
  PutHead(DigestOf(block), block, &out);
  const WriteItem* previous = nullptr;
  for (const WriteItem& item : plan.items) {
    PutRecord(item, previous, &out);
    previous = &item;
  }
  return std::move(out).Take();
}

StatusOr<PlanMessage> SplitPlanMessage(std::string_view data) {
  WireReader in(data, "a save plan");
  DCP_RETURN_IF_ERROR(GetVersion("a save plan", kVersions, &in).status());
  PlanMessage message;
  message.block_digest = GetDigest(&in);
  message.block = in.String();
  DCP_RETURN_IF_ERROR(in.status());
  message.records = data.substr(data.size() - in.remaining());
  return message;
}

std::string StripBlock(const PlanMessage& message) {
  WireWriter out;
  PutHead(message.block_digest, {}, &out);
  return std::move(out).Take().append(message.records);
}

bool RecordReader::Next() {
  if (next_ == block_.entries.size()) in_.Fail();
  const uint8_t flags = in_.U8();
  if ((flags & ~kKnownFlags) != 0) in_.Fail();
  if (!in_.ok()) return false;
  entry_ = &keys_.EntryOf(block_.entries[next_++]);
  ReadChunk(flags & kFormMask);
  is_plain_ = (flags & kNbytes) == 0;
  nbytes_ = is_plain_ ? PlainNbytes() : in_.Signed();
  source_ = (flags & kSource) == 0 ? SourceAfter(source_) : in_.Signed();
  return in_.ok();
}

void RecordReader::ReadChunk(uint8_t form) {
  const Dims& global = entry().global_size;
  const auto whole = [&](int dim) { return Extent{.size = global[dim]}; };
  const bool was_in_bounds = std::exchange(is_in_bounds_, true);
  switch (form) {
    case kWhole:
      for (int d = 0; d < global.size(); ++d) extents_[size_t(d)] = whole(d);
      return;
    case kSame:
      if (!entry().repeats_size || !was_in_bounds) in_.Fail();
      return;
    case kRows:
      if (global.empty()) return in_.Fail();
      ReadExtent(in_.Varint(), 0);
      for (int d = 1; d < global.size(); ++d) extents_[size_t(d)] = whole(d);
      return;
    case kChunk:
      for (int d = 0; d < global.size(); ++d) {
        const uint64_t after_begin = in_.Varint();
        if (after_begin == 0) {
          extents_[size_t(d)] = whole(d);
        } else {
          ReadExtent(after_begin - 1, d);
        }
      }
      return;
    default:
      if (form != kStray || entry().is_object()) return in_.Fail();
      ReadStray();
  }
}

void RecordReader::ReadExtent(uint64_t begin, int dim) {
  const uint64_t size = in_.Varint();
  const int64_t global = entry().global_size[dim];
  const auto most = static_cast<uint64_t>(std::max<int64_t>(global, 0));
  if (begin > most || size > most - begin) return in_.Fail();
  extents_[size_t(dim)] = {.begin = static_cast<int64_t>(begin),
                           .size = static_cast<int64_t>(size)};
}

void RecordReader::ReadStray() {
  stray_.offsets = in_.GetDims();
  stray_.sizes = in_.GetDims();
  is_in_bounds_ = InBounds(entry().global_size, stray_);
  if (!is_in_bounds_) return;
  for (int d = 0; d < stray_.ndim(); ++d) {
    extents_[size_t(d)] = {.begin = stray_.offsets[d], .size = stray_.sizes[d]};
  }
}

int64_t RecordReader::PlainNbytes() const {
  const KeyEntry& item = entry();
  if (!is_in_bounds_ || !item.is_countable) {
    return PlainNbytesOf(Chunk().sizes, item.itemsize());
  }
  // Not the item size first: of a tensor without elements that may be more
  // than 64 bits count before the dimension that makes it nothing.
  int64_t numel = 1;
  for (int d = 0; d < item.global_size.size(); ++d) {
    numel *= extents_[size_t(d)].size;
  }
  return numel * item.itemsize();
}

Box RecordReader::Chunk() const {
  if (!is_in_bounds_) return stray_;
  Box chunk = WholeBox(entry().global_size);
  for (int d = 0; d < chunk.ndim(); ++d) {
    chunk.offsets[d] = extents_[size_t(d)].begin;
    chunk.sizes[d] = extents_[size_t(d)].size;
  }
  return chunk;
}

WriteItem RecordReader::Item() const {
  return {.fqn = entry().fqn,
          .type = entry().type,
          .chunk = Chunk(),
          .global_size = entry().global_size,
          .properties = entry().properties,
          .nbytes = nbytes_,
          .source = source_};
}

}  // namespace dcp
