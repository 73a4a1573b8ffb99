// Tensors whose elements tell where they come from, for the tests of mappings.

#ifndef DCP_TESTS_MAPPING_MAPPING_CASES_H_
#define DCP_TESTS_MAPPING_MAPPING_CASES_H_

#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "dcp/mapping.h"
#include "plan/plan_cases.h"

namespace dcp {

struct Cells {
  Dims sizes;
  std::vector<int64_t> values;  // row-major
  bool operator==(const Cells&) const = default;
};
/// By name.
using CellsOf = std::map<std::string, Cells>;

/// No value is there twice, in this or in others that begin elsewhere.
inline Cells Numbered(Dims sizes, int64_t begin = 0) {
  Cells cells{.values =
                  std::vector<int64_t>(static_cast<size_t>(Numel(sizes)))};
  std::iota(cells.values.begin(), cells.values.end(), begin);
  cells.sizes = std::move(sizes);
  return cells;
}

inline CellsOf NumberedAll(
    const std::vector<std::pair<std::string, Dims>>& tensors) {
  CellsOf all;
  int64_t begin = 0;
  for (const auto& [name, sizes] : tensors) {
    all[name] = Numbered(sizes, begin);
    begin += Numel(sizes);
  }
  return all;
}

/// The rows `rows` of a matrix.
inline Cells Rows(const Cells& matrix, const std::vector<int64_t>& rows) {
  const int64_t width = matrix.sizes[1];
  Cells taken{.sizes = {std::ssize(rows), width}};
  for (const int64_t row : rows) {
    for (int64_t i = 0; i < width; ++i) {
      taken.values.push_back(
          matrix.values[static_cast<size_t>(row * width + i)]);
    }
  }
  return taken;
}

/// Calls `visit` with all indices below `sizes`, in row-major order.
template <typename Visit>
void ForEachIndex(const Dims& sizes, const Visit& visit) {
  if (Numel(sizes) == 0) return;
  Dims index = Dims::Filled(sizes.size(), 0);
  for (;;) {
    visit(index);
    int d = sizes.size() - 1;
    while (d >= 0 && ++index[d] == sizes[d]) index[d--] = 0;
    if (d < 0) return;
  }
}

inline size_t FlatIndex(const Dims& sizes, const Dims& index) {
  int64_t flat = 0;
  for (int d = 0; d < sizes.size(); ++d) flat = flat * sizes[d] + index[d];
  return static_cast<size_t>(flat);
}

/// Does one read, into the cells of `target`, which are in `box`.
inline void DoRead(const MappedRead& read, const Cells& source, const Box& box,
                   Cells* target) {
  REQUIRE(InBounds(source.sizes, read.box));
  ForEachIndex(read.box.sizes, [&](const Dims& index) {
    Dims from = read.box.offsets;
    Dims to = read.target_offsets;
    for (int d = 0; d < index.size(); ++d) {
      from[d] += index[d];
      if (read.target_steps[d] == 0) continue;
      to[static_cast<int>(read.target_dims[d])] +=
          index[d] * read.target_steps[d];
    }
    const Box place{.offsets = to, .sizes = Dims::Filled(to.size(), 1)};
    if (!InBounds(box.sizes, place)) FAIL("outside of the box");
    for (int d = 0; d < to.size(); ++d) to[d] += box.offsets[d];
    int64_t& cell = target->values[FlatIndex(target->sizes, to)];
    if (cell != -1) FAIL("an element is read twice");
    cell = source.values[FlatIndex(source.sizes, from)];
  });
}

/// Does one write of WritesOf: `box` is the source's.
inline void DoWrite(const MappedRead& write, const Cells& source,
                    const Box& box, Cells* target) {
  REQUIRE(InBounds(target->sizes, write.box));
  ForEachIndex(write.box.sizes, [&](const Dims& index) {
    Dims to = write.box.offsets;
    Dims from = write.target_offsets;
    for (int d = 0; d < index.size(); ++d) {
      to[d] += index[d];
      if (write.target_steps[d] == 0) continue;
      from[static_cast<int>(write.target_dims[d])] +=
          index[d] * write.target_steps[d];
    }
    const Box place{.offsets = from, .sizes = Dims::Filled(from.size(), 1)};
    if (!InBounds(box.sizes, place)) FAIL("outside of the box");
    for (int d = 0; d < from.size(); ++d) from[d] += box.offsets[d];
    int64_t& cell = target->values[FlatIndex(target->sizes, to)];
    if (cell != -1) FAIL("an element is written twice");
    cell = source.values[FlatIndex(source.sizes, from)];
  });
}

/// Checks that random boxes of `sources` become `made`.
inline void CheckWrites(const std::vector<MappedTensor>& plan,
                        const std::vector<const Cells*>& sources,
                        const CellsOf& made) {
  Random random(8);
  for (const MappedTensor& tensor : plan) {
    Cells target = Numbered(tensor.sizes);
    std::fill(target.values.begin(), target.values.end(), -1);
    for (const MappedPart& part : tensor.parts) {
      const Cells& source = *sources[part.source];
      const auto count = static_cast<int>(random.Between(1, 6));
      for (const Box& box : RandomPartition(&random, source.sizes, count)) {
        for (const MappedRead& write : WritesOf(part, box)) {
          DoWrite(write, source, box, &target);
        }
      }
    }
    CHECK(target.values == made.at(tensor.name).values);
  }
}

/// What `mapping` makes of `sources`, in random boxes, of either side.
inline StatusOr<CellsOf> Apply(const Mapping& mapping, const CellsOf& sources,
                               const MappingOptions& options) {
  std::vector<MappingSource> keys;
  std::vector<const Cells*> cells;
  for (const auto& [name, tensor] : sources) {
    keys.push_back({.name = name, .sizes = tensor.sizes});
    cells.push_back(&tensor);
  }
  DCP_ASSIGN_OR_RETURN(const std::vector<MappedTensor> plan,
                       mapping.Plan(keys, options));
  Random random(7);
  CellsOf made;
  for (const MappedTensor& tensor : plan) {
    Cells target = Numbered(tensor.sizes);
    std::fill(target.values.begin(), target.values.end(), -1);
    const auto count = static_cast<int>(random.Between(1, 6));
    for (const Box& box : RandomPartition(&random, tensor.sizes, count)) {
      for (const MappedRead& read : ReadsOf(tensor, box)) {
        DoRead(read, *cells[read.source], box, &target);
      }
    }
    CHECK(made.emplace(tensor.name, std::move(target)).second);
  }
  CheckWrites(plan, cells, made);
  return made;
}

inline Mapping Parsed(std::string_view json) {
  const auto mapping = Mapping::Parse(json);
  CAPTURE(json, Message(mapping.status()));
  REQUIRE(mapping.ok());
  return *mapping;
}

/// A mapping of one rule, the content of its JSON object.
inline Mapping OneRule(const std::string& rule) {
  return Parsed("{\"rules\": [{" + rule + "}]}");
}

inline void CheckMaps(const Mapping& mapping, const CellsOf& from,
                      const CellsOf& to, const MappingOptions& options) {
  const auto made = Apply(mapping, from, options);
  CAPTURE(Message(made.status()));
  REQUIRE(made.ok());
  REQUIRE(made->size() == to.size());
  for (const auto& [name, cells] : to) {
    CAPTURE(name);
    REQUIRE(made->contains(name));
    CHECK(made->at(name).sizes == cells.sizes);
    CHECK(made->at(name).values == cells.values);
  }
}

/// Whether `mapping` makes each of the other.
inline void CheckBothWays(const Mapping& mapping, const CellsOf& native,
                          const CellsOf& hf, const ModelNumbers& numbers = {}) {
  CheckMaps(mapping, native, hf, {.numbers = numbers});
  CheckMaps(mapping, hf, native,
            {.direction = MappingDirection::kToNative, .numbers = numbers});
}

/// Why `mapping` makes nothing of tensors, none of which has elements that
/// matter.
inline std::string WhyNot(
    const Mapping& mapping,
    const std::vector<std::pair<std::string, Dims>>& sources,
    const MappingOptions& options = {}) {
  std::vector<MappingSource> keys;
  for (const auto& [name, sizes] : sources) {
    keys.push_back({.name = name, .sizes = sizes});
  }
  const auto plan = mapping.Plan(keys, options);
  CHECK(plan.status().code() == absl::StatusCode::kInvalidArgument);
  return std::string(Message(plan.status()));
}

}  // namespace dcp

#endif  // DCP_TESTS_MAPPING_MAPPING_CASES_H_
