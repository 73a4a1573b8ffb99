// What tests of descriptions share.

#ifndef DCP_TESTS_CHECKPOINT_DESCRIBE_TESTING_H_
#define DCP_TESTS_CHECKPOINT_DESCRIBE_TESTING_H_

#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "dcp/describe.h"

namespace dcp {

/// Checks that `totals` say all that `items` do but the items.
inline void CheckSameTotals(const CheckpointDescription& totals,
                            const CheckpointDescription& items) {
  const auto files = [](const CheckpointDescription& about) {
    std::vector<std::pair<std::string, int64_t>> all;
    for (const auto& file : about.files)
      all.emplace_back(file.name, file.nbytes);
    return all;
  };
  const auto sums = [](const std::vector<TensorTotal>& list) {
    std::map<std::string, std::tuple<int64_t, int64_t, int64_t>> all;
    for (const auto& t : list) all[t.name] = {t.tensors, t.elements, t.nbytes};
    return all;
  };
  CHECK(totals.tensors.empty());
  CHECK(totals.objects.empty());
  CHECK(totals.format == items.format);
  CHECK(totals.save_id == items.save_id);
  CHECK(totals.is_ours == items.is_ours);
  CHECK(totals.step == items.step);
  CHECK(totals.ranks == items.ranks);
  CHECK(totals.tensor_count == items.tensor_count);
  CHECK(totals.object_count == items.object_count);
  CHECK(totals.elements == items.elements);
  CHECK(totals.nbytes == items.nbytes);
  CHECK(files(totals) == files(items));
  CHECK(sums(totals.by_dtype) == sums(items.by_dtype));
  CHECK(sums(totals.by_module) == sums(items.by_module));
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_DESCRIBE_TESTING_H_
