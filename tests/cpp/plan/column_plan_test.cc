#include "plan/column_plan.h"

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::vector<std::string> MessagesOf(const std::vector<SavePlan>& plans) {
  std::vector<std::string> messages;
  for (const SavePlan& plan : plans) {
    messages.push_back(SerializePlanMessage(plan));
  }
  return messages;
}

StatusOr<ColumnPlan> PlanFrom(std::vector<std::string>* messages,
                              const GlobalPlanOptions& options = {}) {
  DCP_ASSIGN_OR_RETURN(PlanColumns columns, PlanColumns::Read(*messages));
  return ColumnPlan::Make(std::move(columns), options);
}

StatusOr<ColumnPlan> PlanInColumns(const std::vector<SavePlan>& local,
                                   const GlobalPlanOptions& options = {}) {
  std::vector<std::string> messages = MessagesOf(local);
  return PlanFrom(&messages, options);
}

/// Requires that both ways of planning come to the same, be it an error.
/// Returns whether there is a plan.
bool RequireSame(const std::vector<SavePlan>& local,
                 const GlobalPlanOptions& options) {
  const StatusOr<GlobalPlan> items = CreateGlobalSavePlan(local, options);
  StatusOr<ColumnPlan> columns = PlanInColumns(local, options);
  REQUIRE(columns.status().code() == items.status().code());
  REQUIRE(Message(columns.status()) == Message(items.status()));
  if (!items.ok()) return false;
  REQUIRE(columns->MakePlans() == items->plans);
  for (size_t rank = 0; rank < local.size(); ++rank) {
    int64_t nbytes = 0;
    for (const WriteItem& item : items->plans[rank].items) {
      nbytes += item.nbytes;
    }
    REQUIRE(columns->loads()[rank] == nbytes);
    const auto share =
        ParsePlanShare(SerializePlanShare(columns->ShareOf(rank)));
    REQUIRE(share.ok());
    const StatusOr<SavePlan> mine = ApplyShare(*share, local[rank]);
    REQUIRE(mine.ok());
    REQUIRE(*mine == items->plans[rank]);
  }
  const Metadata metadata = (*std::move(columns)).MakeMetadata();
  REQUIRE(metadata.entries() == items->metadata.entries());
  REQUIRE(metadata.planner_data == items->metadata.planner_data);
  return true;
}

GlobalPlanOptions RandomOptions(Random* random) {
  return {.dedup_to_lowest_rank = random->OneIn(6),
          .split_nbytes =
              random->Pick<int64_t>({0, 64, 512, 4096, int64_t{1} << 20}),
          .require_full_coverage = !random->OneIn(6)};
}

/// Ties, paths and sources as a rank's planner may have them.
void Decorate(Random* random, std::vector<SavePlan>* plans) {
  for (SavePlan& plan : *plans) {
    if (random->OneIn(3)) plan.ties.emplace("key1", "key2");
    if (random->OneIn(2)) {
      plan.planner_data.emplace();
      for (const WriteItem& item : plan.items) {
        plan.planner_data->emplace(item.fqn, ObjectPath{random->Between(0, 3)});
      }
    }
    int64_t source = random->OneIn(3) ? random->Between(-2, 9) : 0;
    for (WriteItem& item : plan.items) {
      item.source = source;
      source += random->OneIn(5) ? 3 : 1;
    }
  }
}

TEST_CASE("plans in columns are those of items", "[columns]") {
  Random random(1);
  int planned = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    auto plans = RandomJob(&random, static_cast<size_t>(random.Between(1, 9)));
    if (random.OneIn(2)) Decorate(&random, &plans);
    planned += RequireSame(plans, RandomOptions(&random)) ? 1 : 0;
  }
  CHECK(planned == 3000);
}

WriteItem* PickItem(Random* random, std::vector<SavePlan>* plans) {
  SavePlan& plan = (*plans)[static_cast<size_t>(
      random->Between(0, static_cast<int64_t>(plans->size()) - 1))];
  if (plan.items.empty()) return nullptr;
  return &plan.items[static_cast<size_t>(
      random->Between(0, static_cast<int64_t>(plan.items.size()) - 1))];
}

/// Makes one or two items other than they should be.
void Spoil(Random* random, std::vector<SavePlan>* plans) {
  for (int64_t n = random->Between(1, 2); n > 0; --n) {
    WriteItem* item = PickItem(random, plans);
    const WriteItem* other = PickItem(random, plans);
    if (item == nullptr || other == nullptr) continue;
    const bool has_dims = item->chunk.ndim() > 0;
    const std::vector<std::function<void()>> ways = {
        [&] { item->nbytes = random->Between(-2, 300); },
        [&] { item->nbytes = int64_t{3} << 61; },
        [&] { item->properties.dtype = DType::kBFloat16; },
        [&] { item->properties.layout = Layout::kJagged; },
        [&] { item->properties.requires_grad = true; },
        [&] { item->type = WriteItemType::kTensor; },
        [&] { *item = ObjectItem(item->fqn, 5); },
        [&] { item->fqn = "other"; },
        [&] { *item = *other; },
        [&] { item->chunk = other->chunk; },
        [&] { item->global_size = other->global_size; },
        [&] { item->global_size.push_back(int64_t{1} << 62); },
        [&] {
          if (has_dims) item->chunk.offsets[0] += random->Between(-1, 1);
        },
        [&] {
          if (has_dims) item->chunk.sizes[0] += random->Between(-1, 1);
        }};
    ways[static_cast<size_t>(
        random->Between(0, static_cast<int64_t>(ways.size()) - 1))]();
    if (item->type == WriteItemType::kByteIo) {
      *item = ObjectItem(item->fqn, item->nbytes);
    }
  }
}

TEST_CASE("of wrong plans columns say what items do", "[columns]") {
  Random random(2);
  int refused = 0;
  for (int trial = 0; trial < 6000; ++trial) {
    auto plans = RandomJob(&random, static_cast<size_t>(random.Between(1, 6)));
    Spoil(&random, &plans);
    refused += RequireSame(plans, RandomOptions(&random)) ? 0 : 1;
  }
  CHECK(refused > 3000);
}

TEST_CASE("meshes, replicas and large tensors plan as items do", "[columns]") {
  const int64_t wide = int64_t{1} << 33;
  std::vector<SavePlan> plans;
  for (int64_t rank = 0; rank < 24; ++rank) {
    const int64_t row = rank / 4 % 3;
    const int64_t column = rank % 4;
    std::vector<WriteItem> items;
    // Replicated twice, cut in both dimensions, in another order than ranks.
    items.push_back(
        TensorItem("grid", {9, 8},
                   {.offsets = {6 - row * 3, column * 2}, .sizes = {3, 2}}));
    items.push_back(TensorItem(
        "wide", {3, wide},
        {.offsets = {row, column * (wide / 4)}, .sizes = {1, wide / 4}}));
    items.push_back(WholeItem("ddp", {1000, 10}));
    items.push_back(WholeItem("step", {}));
    items.push_back(ObjectItem("lr", 40 + rank));
    // torch lists a share of no rows at the end of the tensor.
    const int64_t begin = std::min<int64_t>(rank, 5);
    items.push_back(
        TensorItem("few", {5, 2},
                   {.offsets = {begin, 0}, .sizes = {rank < 5 ? 1 : 0, 2}}));
    plans.push_back(PlanOf(std::move(items)));
  }
  for (const int64_t split : {0, 1000, 4096}) {
    CHECK(RequireSame(plans, {.split_nbytes = split}));
  }
  // Chunks that no straight cut takes apart.
  std::vector<WriteItem> spiral;
  for (const Box& chunk : SpiralChunks(3)) {
    spiral.push_back(TensorItem("spiral", {7, 7}, chunk));
  }
  plans.push_back(PlanOf(spiral));
  CHECK(RequireSame(plans, {}));
  CHECK(RequireSame({}, {}));
  CHECK(RequireSame({PlanOf({}), PlanOf({})}, {}));
}

TEST_CASE("a tensor of many dimensions of one keeps its order", "[columns]") {
  // 2 ** 64 places: more than 64 bits tell apart.
  Dims sizes = Dims::Filled(Dims::kMaxDims, 1);
  sizes[0] = 2;
  std::vector<SavePlan> plans;
  for (const int64_t row : {1, 0, 1}) {
    Box chunk = WholeBox(sizes);
    chunk.offsets[0] = row;
    chunk.sizes[0] = 1;
    plans.push_back(PlanOf({TensorItem("w", sizes, chunk)}));
  }
  CHECK(RequireSame(plans, {}));
}

TEST_CASE("an object has the bytes of its rank, whatever its dtype",
          "[columns]") {
  std::vector<SavePlan> plans(2, PlanOf({ObjectItem("state", 8)}));
  plans[0].items[0].nbytes = 4;
  plans[0].items[0].properties.dtype = DType::kFloat32;
  plans[1].items[0].properties.dtype = DType::kFloat64;
  plans[1].items.push_back(WholeItem("alone", {1}));
  CHECK(RequireSame(plans, {}));
  plans[0].items.push_back(WholeItem("w", {100}));
  CHECK(RequireSame(plans, {}));
}

TEST_CASE("no number of huge tensors is too much to balance", "[columns]") {
  // Rows of tensors of 2 ** 52 bytes, of which 2,048 are 2 ** 63.
  const Dims sizes = {int64_t{1} << 48};
  const Box row{.offsets = {5}, .sizes = {1}};
  std::vector<WriteItem> items;
  for (int i = 0; i < 2100; ++i) {
    items.push_back(
        TensorItem("w" + std::to_string(i), sizes, row, DType::kComplex128));
  }
  const GlobalPlanOptions options{.require_full_coverage = false};
  CHECK(RequireSame({PlanOf(items), PlanOf(items)}, options));
  items.push_back(ObjectItem("shared", 1));
  CHECK(RequireSame({PlanOf(items), PlanOf({items.back()})}, options));
}

TEST_CASE("a message without its block needs one before it", "[columns]") {
  const std::vector<SavePlan> plans(2, PlanOf({WholeItem("w", {4, 4})}));
  std::vector<std::string> messages = MessagesOf(plans);
  const std::string stripped = StripBlock(*SplitPlanMessage(messages[1]));
  CHECK(stripped.size() < messages[1].size());
  messages[1] = stripped;
  const StatusOr<ColumnPlan> plan = PlanFrom(&messages);
  REQUIRE(plan.ok());
  CHECK(plan->MakePlans() == CreateGlobalSavePlan(plans, {})->plans);
  CHECK(messages == std::vector<std::string>(2));  // freed
  messages = {stripped, SerializePlanMessage(plans[0])};
  const Status status = PlanFrom(&messages).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)),
             Contains("rank 0") && Contains("no message of a lower rank"));
}

TEST_CASE("a garbled message is refused with its rank", "[columns]") {
  Random random(3);
  const auto plans = RandomJob(&random, 3);
  int refused = 0;
  for (int trial = 0; trial < 5000; ++trial) {
    std::vector<std::string> messages = MessagesOf(plans);
    std::string& bytes = messages[1];
    const auto at = static_cast<size_t>(
        random.Between(0, static_cast<int64_t>(bytes.size()) - 1));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random.Between(0, 7)));
    if (random.OneIn(4)) bytes.resize(at);
    const Status status = PlanFrom(&messages).status();
    if (status.code() == absl::StatusCode::kDataLoss ||
        status.code() == absl::StatusCode::kFailedPrecondition) {
      CHECK_THAT(std::string(Message(status)), Contains("rank 1"));
      ++refused;
    }
  }
  CHECK(refused > 2000);
}

}  // namespace
}  // namespace dcp
