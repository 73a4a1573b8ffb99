// Plans on their way to the coordinator, and its answers: whatever is accepted
// can be planned, and the answer applied.

#include <string_view>
#include <utility>

#include "fuzz/fuzz_target.h"
#include "plan/column_plan.h"
#include "plan/plan_message.h"

namespace dcp {
namespace {

/// The items of a message whose block need not be that of its hash, empty if
/// they are garbled.
SavePlan ItemsOf(const PlanMessage& message) {
  KeyBlocks keys;
  const auto block = keys.Read(message.block);
  if (!block.ok()) return {};
  RecordReader reader(keys, *block, message.records);
  SavePlan plan{.planner_data = keys.TakePaths(), .ties = block->ties};
  for (size_t i = 0; i < block->entries.size() && reader.Next(); ++i) {
    plan.items.push_back(reader.Item());
  }
  return reader.Finish().ok() ? plan : SavePlan();
}

void PlanForTwo(const SavePlan& local) {
  std::vector<std::string> messages(2, SerializePlanMessage(local));
  auto columns = PlanColumns::Read(messages);
  if (!columns.ok()) return;
  auto plan = ColumnPlan::Make(*std::move(columns), {});
  if (!plan.ok()) return;
  const std::vector<SavePlan> plans = plan->MakePlans();
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    const auto mine = ApplyShare(plan->ShareOf(rank), local);
    Require(mine.ok() && *mine == plans[rank], "ranks and coordinator agree");
  }
  (void)(*std::move(plan)).MakeMetadata();
}

}  // namespace

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
  WriteItem tile = shard;
  tile.chunk.offsets[1] = 8;
  tile.chunk.sizes[1] = 8;
  tile.nbytes = 512;
  const WriteItem object{
      .fqn = "step", .type = WriteItemType::kByteIo, .nbytes = 40, .source = 7};
  SavePlan plan{.items = {tensor, shard, tile, object}};
  plan.planner_data.emplace();
  plan.planner_data->emplace("step", ObjectPath{"step"});
  plan.ties.emplace("layers.7.weight", "layers.8.weight");
  return {SerializePlanMessage({}), SerializePlanMessage({.items = {tensor}}),
          SerializePlanMessage(plan),
          SerializePlanShare({.item_count = 40,
                              .whole = {{.begin = 3, .end = 9}},
                              .pieces = {{.item = 12, .rows = 4}}})};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto message = dcp::SplitPlanMessage(input);
  if (message.ok()) dcp::PlanForTwo(dcp::ItemsOf(*message));
  const auto share = dcp::ParsePlanShare(input);
  if (!share.ok()) return 0;
  const auto again = dcp::ParsePlanShare(dcp::SerializePlanShare(*share));
  dcp::Require(again.ok() && *again == *share, "a round trip changes nothing");
  return 0;
}
