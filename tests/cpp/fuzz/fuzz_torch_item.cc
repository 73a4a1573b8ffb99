// Tensor items: whatever is accepted lies within the item.

#include <span>

#include "dcp/dims.h"
#include "format/memory_item_source.h"
#include "format/torch_item_reader.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() { return ItemSeeds(ItemKind::kTensor); }
std::vector<std::string> FuzzDictionary() { return ZipDictionary(); }

namespace {

void CheckRanges(const TensorItemInfo& info, int64_t length) {
  Require(info.data_offset >= 0 && info.data_nbytes >= 0 &&
              info.data_offset <= length &&
              info.data_nbytes <= length - info.data_offset,
          "the data lies within the item");
  const int64_t numel = CheckedNumel(info.sizes).value_or(-1);
  Require(numel >= 0 && info.sizes.size() == info.strides.size(),
          "sizes and strides are possible");
  if (numel == 0) return;
  __int128 last = info.storage_offset;
  for (int d = 0; d < info.sizes.size(); ++d) {
    Require(info.strides[d] >= 0, "strides are not negative");
    last += __int128{info.sizes[d] - 1} * info.strides[d];
  }
  Require((last + 1) * ItemSize(info.dtype) <= info.data_nbytes,
          "the last element lies within the data");
}

}  // namespace
}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto item = std::as_bytes(std::span(data, size));
  dcp::MemoryItemSource source(item);
  const auto length = static_cast<int64_t>(size);
  const auto info = dcp::ParseTensorItem(source, length);
  if (info.ok() && !info->needs_torch) dcp::CheckRanges(*info, length);
  (void)dcp::VerifyItemCrcs(item);
  return 0;
}
