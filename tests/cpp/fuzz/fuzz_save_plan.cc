// Plans on their way to the coordinator: whatever is accepted can be sent
// again.

#include <string_view>

#include "dcp/plan.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const WriteItem tensor{.fqn = "layers.7.weight",
                         .type = WriteItemType::kTensor,
                         .chunk = WholeBox(Dims{64, 32}),
                         .global_size = Dims{64, 32},
                         .properties = {.dtype = DType::kBFloat16},
                         .nbytes = 4096};
  WriteItem shard = tensor;
  shard.fqn = "layers.8.weight";
  shard.type = WriteItemType::kShard;
  shard.chunk = {.offsets = Dims{32, 0}, .sizes = Dims{32, 32}};
  shard.nbytes = 2048;
  shard.source = 1;
  const WriteItem object{.fqn = "step", .nbytes = 40, .source = 2};
  const SavePlan plan{.items = {tensor, shard, object}};
  SavePlan with_paths = plan;
  with_paths.planner_data.emplace();
  with_paths.planner_data->emplace("step", ObjectPath{"step"});
  with_paths.planner_data->emplace("layers.7.weight",
                                   ObjectPath{"layers", int64_t{7}, "weight"});
  return {SerializeSavePlan({}), SerializeSavePlan(plan),
          SerializeSavePlan(with_paths)};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto plan = dcp::ParseSavePlan(input);
  if (!plan.ok()) return 0;
  const auto again = dcp::ParseSavePlan(dcp::SerializeSavePlan(*plan));
  dcp::Require(again.ok() && *again == *plan, "a round trip changes nothing");
  return 0;
}
