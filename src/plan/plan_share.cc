// On the wire (base/wire.h):
//
//   u8 version, u8 oldest version of a reader that understands it
//   count of items of the local plan
//   u8 form of what is written whole, the shorter of
//     kRuns  count, then each: varint items since the last, varint items
//     kBits  string of a bit for each item, the lowest of a byte first
//   count of pieces, then each: varint items since the last, varint first row,
//     varint rows

#include "plan/plan_share.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/wire.h"
#include "plan/item_pieces.h"
#include "plan/plan_wire.h"

namespace dcp {
namespace {

// An answer that was a list of items had versions 1 and 2.
constexpr WireVersions kVersions{.oldest = 3, .newest = 3, .oldest_reader = 3};

constexpr uint8_t kRuns = 0;
constexpr uint8_t kBits = 1;

std::string RunsOf(const PlanShare& share) {
  WireWriter out;
  out.PutVarint(share.whole.size());
  uint32_t last = 0;
  for (const ItemRun& run : share.whole) {
    out.PutVarint(run.begin - last);
    out.PutVarint(run.end - run.begin);
    last = run.end;
  }
  return std::move(out).Take();
}

std::string BitsOf(const PlanShare& share) {
  std::string bits((size_t{share.item_count} + 7) / 8, '\0');
  for (const ItemRun& run : share.whole) {
    for (uint32_t item = run.begin; item < run.end; ++item) {
      bits[item / 8] = static_cast<char>(bits[item / 8] | 1 << item % 8);
    }
  }
  return bits;
}

/// Fails `in` unless what is read ascends below `count`.
class ItemCounter {
 public:
  ItemCounter(uint32_t count, WireReader* in) : count_(count), in_(in) {}

  /// `step` items on.
  uint32_t Advance(uint64_t step) {
    if (step > count_ - at_) {
      in_->Fail();
    } else {
      at_ += static_cast<uint32_t>(step);
    }
    return at_;
  }

 private:
  const uint32_t count_;
  uint32_t at_ = 0;
  WireReader* const in_;
};

void GetRuns(WireReader* in, PlanShare* share) {
  ItemCounter items(share->item_count, in);
  for (size_t left = in->Count(2); in->ok() && left > 0; --left) {
    ItemRun run;
    run.begin = items.Advance(in->Varint());
    run.end = items.Advance(in->Varint());
    const bool is_apart =
        share->whole.empty() || share->whole.back().end < run.begin;
    if (run.begin == run.end || !is_apart) in->Fail();
    share->whole.push_back(run);
  }
}

void GetBits(WireReader* in, PlanShare* share) {
  const std::string_view bits = in->String();
  if (bits.size() != (size_t{share->item_count} + 7) / 8) return in->Fail();
  const auto has = [bits](uint32_t item) {
    return (static_cast<uint8_t>(bits[item / 8]) >> item % 8 & 1) != 0;
  };
  for (uint32_t item = 0; item < share->item_count; ++item) {
    if (!has(item)) continue;
    if (share->whole.empty() || share->whole.back().end != item) {
      share->whole.push_back({.begin = item, .end = item});
    }
    ++share->whole.back().end;
  }
}

void GetPieces(WireReader* in, PlanShare* share) {
  ItemCounter items(share->item_count, in);
  for (size_t left = in->Count(3); in->ok() && left > 0; --left) {
    ItemPiece piece;
    piece.item = items.Advance(in->Varint());
    items.Advance(1);
    const uint64_t row_begin = in->Varint();
    const uint64_t rows = in->Varint();
    constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
    if (row_begin > kMost || rows > kMost) return in->Fail();
    piece.row_begin = static_cast<int64_t>(row_begin);
    piece.rows = static_cast<int64_t>(rows);
    share->pieces.push_back(piece);
  }
}

Status NoShareOf(const SavePlan& local, const std::string& why) {
  return DataLoss("a share of a save plan does not fit this rank's plan of " +
                  std::to_string(local.items.size()) + " items: " + why);
}

/// Whether `item` has the rows of `piece`.
bool HasRows(const WriteItem& item, const ItemPiece& piece) {
  return RowNbytesOf(item) > 0 && piece.row_begin <= item.chunk.sizes[0] &&
         piece.rows <= item.chunk.sizes[0] - piece.row_begin;
}

}  // namespace

std::string SerializePlanShare(const PlanShare& share) {
  WireWriter out;
  PutVersion(kVersions, &out);
  out.PutVarint(share.item_count);
  std::string whole = RunsOf(share);
  const bool has_bits = (size_t{share.item_count} + 7) / 8 < whole.size();
  out.PutU8(has_bits ? kBits : kRuns);
  std::string bytes;
  if (has_bits) {
    out.PutString(BitsOf(share));
    bytes = std::move(out).Take();
  } else {
    bytes = std::move(out).Take().append(whole);
  }
  WireWriter pieces;
  pieces.PutVarint(share.pieces.size());
  uint32_t next = 0;
  for (const ItemPiece& piece : share.pieces) {
    pieces.PutVarint(piece.item - next);
    pieces.PutVarint(static_cast<uint64_t>(piece.row_begin));
    pieces.PutVarint(static_cast<uint64_t>(piece.rows));
    next = piece.item + 1;
  }
  return bytes.append(pieces.data());
}

StatusOr<PlanShare> ParsePlanShare(std::string_view data) {
  WireReader in(data, "a share of a save plan");
  DCP_ASSIGN_OR_RETURN(const uint8_t version,
                       GetVersion("a share of a save plan", kVersions, &in));
  PlanShare share;
  const uint64_t count = in.Varint();
  if (count > std::numeric_limits<uint32_t>::max()) in.Fail();
  share.item_count = static_cast<uint32_t>(count);
  const uint8_t form = in.U8();
  if (form > kBits) in.Fail();
  if (in.ok() && form == kRuns) GetRuns(&in, &share);
  if (in.ok() && form == kBits) GetBits(&in, &share);
  GetPieces(&in, &share);
  DCP_RETURN_IF_ERROR(in.status());
  // A newer version may append what an old reader does not need.
  if (version <= kVersions.newest) DCP_RETURN_IF_ERROR(in.Finish());
  return share;
}

StatusOr<SavePlan> ApplyShare(const PlanShare& share, SavePlan local) {
  if (share.item_count != local.items.size()) {
    return NoShareOf(local,
                     "it is of " + std::to_string(share.item_count) + " items");
  }
  SavePlan mine{.ties = std::move(local.ties)};
  size_t count = share.pieces.size();
  for (const auto& whole : share.whole) count += whole.end - whole.begin;
  mine.items.reserve(std::min<size_t>(count, share.item_count));
  auto run = share.whole.begin();
  auto piece = share.pieces.begin();
  for (uint32_t i = 0; i < share.item_count; ++i) {
    while (run != share.whole.end() && run->end <= i) ++run;
    const bool is_whole = run != share.whole.end() && run->begin <= i;
    const bool is_piece = piece != share.pieces.end() && piece->item == i;
    if (!is_whole && !is_piece) continue;
    WriteItem& item = mine.items.emplace_back(std::move(local.items[i]));
    if (!is_piece) continue;
    if (is_whole || !HasRows(item, *piece)) {
      return NoShareOf(local, "it has other rows of " + item.fqn);
    }
    CutToRows(piece->row_begin, piece->rows, &item);
    ++piece;
  }
  return mine;
}

}  // namespace dcp
