// Orders of trainers to savers: whatever is accepted can be given again.

#include <string_view>

#include "checkpoint/order_entries.h"
#include "checkpoint/save_order.h"
#include "fuzz/fuzz_target.h"

namespace dcp {
namespace {

std::string& Memory() {
  static std::string memory(256, 'x');
  return memory;
}

std::span<std::byte> MemoryBytes() {
  return std::as_writable_bytes(std::span(Memory()));
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  SaveOrder order{
      .rank = 1,
      .world_size = 2,
      .memory_nbytes = 256,
      .writer = FileSystemWriterOptions{.path = "/ckpt",
                                        .session_id = "dcpcpp-1",
                                        .export_dtype = DType::kBFloat16}};
  TensorShard shard{.view = {.data = MemoryBytes().data() + 64,
                             .sizes = {4, 6},
                             .strides = {6, 1}},
                    .global_size = {8, 6},
                    .offsets = {4, 0},
                    .type = WriteItemType::kShard};
  TensorShard encoded = shard;
  encoded.encoded = std::string_view(Memory()).substr(0, 40);
  const std::vector<SaveEntry> entries = {
      {.fqn = "w", .value = shard, .path = {"w", int64_t{7}}},
      {.fqn = "q", .value = encoded},
      {.fqn = "step", .value = SerializedObject{std::string("bytes")}}};
  return {SerializeSaveOrder(order, {}, MemoryBytes()),
          SerializeSaveOrder(order, entries, MemoryBytes())};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto parsed = dcp::ParseSaveOrder(input);
  if (!parsed.ok()) return 0;
  const auto entries =
      dcp::ParseOrderEntries(parsed->entries, dcp::MemoryBytes());
  if (!entries.ok()) return 0;
  const std::string sent =
      dcp::SerializeSaveOrder(parsed->order, *entries, dcp::MemoryBytes());
  const auto again = dcp::ParseSaveOrder(sent);
  dcp::Require(
      again.ok() &&
          dcp::ParseOrderEntries(again->entries, dcp::MemoryBytes()).ok(),
      "what was accepted can be given again");
  return 0;
}
