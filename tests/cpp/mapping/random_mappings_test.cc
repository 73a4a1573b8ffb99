// Rules put together at random: there and back is where one was.

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "mapping/mapping_cases.h"

namespace dcp {
namespace {

std::string Listed(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) {
    list += (list.empty() ? "" : ", ") + text;
  }
  return "[" + list + "]";
}

/// A step that applies to a tensor of `*sizes`, which it alters.
std::string RandomStep(Random* random, Dims* sizes) {
  const auto last = static_cast<int64_t>(sizes->size()) - 1;
  const auto dim = static_cast<int>(random->Between(0, last));
  const int64_t size = (*sizes)[dim];
  const std::string number = std::to_string(dim);
  if (random->OneIn(3) && size % 2 == 0) {
    return "{\"swap_halves\": " + number + "}";
  }
  if (random->OneIn(3) && (*sizes)[0] % 4 == 0) {
    return "{\"permute_heads\": " + std::to_string((*sizes)[0] / 4) + "}";
  }
  if (random->OneIn(2)) {
    const auto other = static_cast<int>(random->Between(0, last));
    std::swap((*sizes)[dim], (*sizes)[other]);
    return "{\"transpose\": [" + number + ", " + std::to_string(other) + "]}";
  }
  const int64_t part = size % 2 == 0 ? 2 : 1;
  Dims divided;
  for (int d = 0; d < sizes->size(); ++d) {
    if (d == dim) divided.push_back(part);
    divided.push_back(d == dim ? size / part : (*sizes)[d]);
  }
  *sizes = divided;
  return "{\"reshape\": {\"dim\": " + number + ", \"from\": [" +
         std::to_string(size) + "], \"to\": [" + std::to_string(part) +
         ", -1]}}";
}

std::string RandomSteps(Random* random, Dims* sizes) {
  std::vector<std::string> steps;
  for (int64_t i = random->Between(0, 3); i > 0; --i) {
    steps.push_back(RandomStep(random, sizes));
  }
  return Listed(steps);
}

/// Powers of two, which any steps can divide.
Dims RandomSizes(Random* random) {
  Dims sizes;
  for (int64_t d = random->Between(1, 3); d > 0; --d) {
    sizes.push_back(random->Pick<int64_t>({1, 2, 4, 8}));
  }
  return sizes;
}

void CheckThereAndBack(const Mapping& mapping, const CellsOf& native,
                       const ModelNumbers& numbers = {}) {
  const auto hf = Apply(mapping, native, {.numbers = numbers});
  CAPTURE(Message(hf.status()));
  REQUIRE(hf.ok());
  CheckMaps(mapping, *hf, native,
            {.direction = MappingDirection::kToNative, .numbers = numbers});
}

TEST_CASE("one tensor goes there and back through any steps", "[mapping]") {
  Random random(11);
  for (int round = 0; round < 300; ++round) {
    const Dims hf = RandomSizes(&random);
    Dims form = hf;
    const std::string rule = R"("native": "a", "hf": "b", "hf_steps": )" +
                             RandomSteps(&random, &form);
    CAPTURE(rule, ToString(hf));
    CheckThereAndBack(OneRule(rule), {{"a", Numbered(form)}});
  }
}

TEST_CASE("several tensors go there and back through any steps", "[mapping]") {
  Random random(12);
  for (int round = 0; round < 300; ++round) {
    const int64_t count = random.Between(2, 4);
    const Dims part = RandomSizes(&random);
    Dims form = part;
    const std::string steps = RandomSteps(&random, &form);
    const bool is_stacked = random.OneIn(2);
    const auto dim = static_cast<int>(random.Between(0, form.size() - 1));
    std::vector<std::string> names;
    for (int64_t i = 0; i < count; ++i) {
      names.push_back("\"b" + std::to_string(i) + "\"");
    }
    CellsOf hf;
    for (int64_t i = 0; i < count; ++i) {
      hf["b" + std::to_string(i)] = Numbered(part, i * Numel(part));
    }
    const std::string rule =
        R"("native": "a", "hf_steps": )" + steps +
        (is_stacked ? R"(, "hf": "b{i}", "stack": "i")"
                    : ", \"hf\": " + Listed(names) +
                          ", \"concat\": " + std::to_string(dim));
    CAPTURE(rule, ToString(part));
    const Mapping mapping = OneRule(rule);
    const auto native =
        Apply(mapping, hf, {.direction = MappingDirection::kToNative});
    CAPTURE(Message(native.status()));
    REQUIRE(native.ok());
    CHECK(Numel(native->at("a").sizes) == count * Numel(part));
    CheckMaps(mapping, *native, hf, {});
  }
}

TEST_CASE("reads of boxes that make up a tensor take each element once",
          "[mapping]") {
  const Mapping mapping = OneRule(
      R"("native": "wq", "hf": "q", "hf_steps": [{"permute_heads": 3}])");
  const std::vector<MappingSource> keys{{.name = "wq", .sizes = {24, 5}}};
  const auto plan = mapping.Plan(keys, {});
  REQUIRE(plan.ok());
  const MappedTensor& tensor = plan->at(0);
  Random random(13);
  for (int round = 0; round < 50; ++round) {
    std::set<std::pair<int64_t, int64_t>> taken;
    for (const Box& box : RandomPartition(&random, tensor.sizes, 7)) {
      for (const MappedRead& read : ReadsOf(tensor, box)) {
        ForEachIndex(read.box.sizes, [&](const Dims& index) {
          CHECK(taken
                    .emplace(read.box.offsets[0] + index[0],
                             read.box.offsets[1] + index[1])
                    .second);
        });
      }
    }
    CHECK(taken.size() == 24 * 5);
  }
  // Pairs of rows, or all of a half, are read at once.
  CHECK(ReadsOf(tensor, WholeBox({24, 5})).size() == 12);
}

}  // namespace
}  // namespace dcp
