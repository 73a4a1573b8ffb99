#include "checkpoint/agreed_plan.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace dcp {
namespace {

bool IsObject(const WriteItem& item) {
  return item.type == WriteItemType::kByteIo;
}

}  // namespace

SavePlan ObjectsOf(const SavePlan& local) {
  SavePlan objects;
  if (local.planner_data) objects.planner_data.emplace();
  for (const WriteItem& item : local.items) {
    if (!IsObject(item)) continue;
    const auto source = static_cast<int64_t>(objects.items.size());
    objects.items.push_back(item);
    objects.items.back().source = source;
    if (!local.planner_data) continue;
    const auto path = local.planner_data->find(item.fqn);
    if (path != local.planner_data->end()) objects.planner_data->insert(*path);
  }
  return objects;
}

SavePlan ShareOf(const AgreedPlan& agreed, uint32_t rank,
                 const SavePlan& local) {
  SavePlan share = agreed.derived->plan->ShareOf(rank);
  if (!agreed.own_objects) return share;
  std::vector<int64_t> tensors;  // their places in `local`
  std::vector<int64_t> objects;
  for (size_t i = 0; i < local.items.size(); ++i) {
    auto& places = IsObject(local.items[i]) ? objects : tensors;
    places.push_back(static_cast<int64_t>(i));
  }
  const auto& own = agreed.own_objects->items;
  share.items.insert(share.items.end(), own.begin(), own.end());
  for (WriteItem& item : share.items) {
    const auto& places = IsObject(item) ? objects : tensors;
    item.source = places[static_cast<size_t>(item.source)];
  }
  std::sort(share.items.begin(), share.items.end(),
            [](const WriteItem& a, const WriteItem& b) {
              return a.source < b.source;
            });
  return share;
}

GlobalPlan GlobalPlanOf(const AgreedPlan& agreed) {
  GlobalPlan global;
  const auto ranks =
      static_cast<uint32_t>(agreed.derived->basis.spec_of_rank.size());
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    global.plans.push_back(agreed.derived->plan->ShareOf(rank));
  }
  global.metadata = agreed.derived->plan->MakeMetadata();
  if (agreed.objects == nullptr) return global;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const auto& objects = agreed.objects->plans[rank].items;
    auto& items = global.plans[rank].items;
    items.insert(items.end(), objects.begin(), objects.end());
  }
  const Metadata& objects = agreed.objects->metadata;
  for (const auto& [fqn, value] : objects.entries()) {
    global.metadata.Add(fqn, value);
  }
  if (objects.planner_data) {
    auto& paths = global.metadata.planner_data;
    if (!paths) paths.emplace();
    paths->insert(objects.planner_data->begin(), objects.planner_data->end());
  }
  return global;
}

bool HasKeyInBoth(const DerivedPlan& derived, const Metadata& objects) {
  std::unordered_set<std::string_view> tensors;
  for (const StateSpec& spec : derived.basis.specs) {
    for (const StateEntry& entry : spec.entries) tensors.insert(entry.fqn);
  }
  return std::any_of(
      objects.entries().begin(), objects.entries().end(),
      [&](const auto& entry) { return tensors.contains(entry.first); });
}

}  // namespace dcp
