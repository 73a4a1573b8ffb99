#include "plan/item_checks.h"

#include <string>
#include <string_view>

namespace dcp {
namespace {

bool IsObject(const WriteItem& item) {
  return item.type == WriteItemType::kByteIo;
}

std::string RankName(uint32_t rank) { return "rank " + std::to_string(rank); }

/// The error of two ranks that say different things about an item's key.
Status Disagreement(ListedItem listed, ListedItem first, std::string_view what,
                    const std::string& first_value, const std::string& value) {
  std::string text = RankName(first.rank) + " and " + RankName(listed.rank) +
                     " disagree about " + ToString(listed.item.index()) + ": ";
  text += what;
  return InvalidArgument(text + " " + first_value + " and " + value);
}

std::string KindName(const WriteItem& item) {
  return IsObject(item) ? "object" : "tensor";
}

std::string LayoutName(const WriteItem& item) {
  return "#" + std::to_string(static_cast<int>(item.properties.layout));
}

std::string DTypeNameOf(const WriteItem& item) {
  return std::string(DTypeName(item.properties.dtype));
}

/// What one rank alone can get wrong.
Status CheckAlone(ListedItem listed) {
  const WriteItem& item = listed.item;
  const auto error = [&](const std::string& what) {
    return InvalidArgument(RankName(listed.rank) + " lists " +
                           ToString(item.index()) + " " + what);
  };
  if (item.nbytes < 0) {
    return error("with " + std::to_string(item.nbytes) + " bytes");
  }
  if (IsObject(item)) return absl::OkStatus();
  if (!CheckedNumel(item.global_size)) {
    return error("with the impossible global size " +
                 ToString(item.global_size));
  }
  if (!InBounds(item.global_size, item.chunk)) {
    return error("with a chunk " + ToString(item.chunk) +
                 " out of the bounds of its global size " +
                 ToString(item.global_size));
  }
  return absl::OkStatus();
}

}  // namespace

Status CheckListed(ListedItem listed, ListedItem first) {
  DCP_RETURN_IF_ERROR(CheckAlone(listed));
  const WriteItem& a = first.item;
  const WriteItem& b = listed.item;
  if (IsObject(a) != IsObject(b)) {
    return Disagreement(listed, first, "kind", KindName(a), KindName(b));
  }
  if (IsObject(a)) return absl::OkStatus();
  if (a.properties.dtype != b.properties.dtype) {
    return Disagreement(listed, first, "dtype", DTypeNameOf(a), DTypeNameOf(b));
  }
  if (a.properties.layout != b.properties.layout) {
    return Disagreement(listed, first, "layout", LayoutName(a), LayoutName(b));
  }
  if (a.global_size != b.global_size) {
    return Disagreement(listed, first, "global size", ToString(a.global_size),
                        ToString(b.global_size));
  }
  return absl::OkStatus();
}

Status CheckHolder(ListedItem listed, uint32_t before, ListedItem first) {
  if (listed.rank == before) {
    return InvalidArgument(RankName(listed.rank) + " lists " +
                           ToString(listed.item.index()) + " twice");
  }
  if (listed.item.chunk.sizes != first.item.chunk.sizes) {
    return Disagreement(listed, first, "chunk size",
                        ToString(first.item.chunk.sizes),
                        ToString(listed.item.chunk.sizes));
  }
  return absl::OkStatus();
}

Status TooManyBytes(ListedItem listed) {
  return InvalidArgument("the items of all ranks, up to " + listed.item.fqn +
                         " of " + RankName(listed.rank) +
                         ", have more bytes than 64 bits count");
}

}  // namespace dcp
