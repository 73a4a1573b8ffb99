// The coordinator's plan of mapped tensors for a rank: whatever is accepted
// can be sent again.

#include <string_view>

#include "checkpoint/mapped_plan.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const WriteItem item{.fqn = "model.layers.7.self_attn.q_proj.weight",
                       .type = WriteItemType::kShard,
                       .chunk = {.offsets = {32, 0}, .sizes = {32, 32}},
                       .global_size = {64, 32},
                       .properties = {.dtype = DType::kBFloat16},
                       .nbytes = 2048};
  const MappedPiece piece{.source = 7,
                          .read = {.box = item.chunk,
                                   .target_offsets = {0, 16, 0},
                                   .target_dims = {0, 2},
                                   .target_steps = {1, 1}}};
  return {SerializeMappedShare({}),
          SerializeMappedShare({.plan = {.items = {item}}, .pieces = {piece}})};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto share = dcp::ParseMappedShare(input);
  if (!share.ok()) return 0;
  dcp::Require(share->pieces.size() == share->plan.items.size(),
               "each item has a piece");
  const std::string sent = dcp::SerializeMappedShare(*share);
  const auto again = dcp::ParseMappedShare(sent);
  dcp::Require(again.ok() && dcp::SerializeMappedShare(*again) == sent,
               "a share comes back as it was");
  return 0;
}
