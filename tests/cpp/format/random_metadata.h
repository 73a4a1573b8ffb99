// Random metadata, and whether two are equal.

#ifndef DCP_TESTS_FORMAT_RANDOM_METADATA_H_
#define DCP_TESTS_FORMAT_RANDOM_METADATA_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <random>
#include <string>
#include <utility>

#include "dcp/metadata.h"

namespace dcp {

inline void CheckEqual(const Metadata& a, const Metadata& b) {
  CHECK(a.entries() == b.entries());
  CHECK(a.planner_data == b.planner_data);
  CHECK(a.storage_data == b.storage_data);
  CHECK(a.storage_meta == b.storage_meta);
  CHECK(a.version == b.version);
  for (const auto& [index, info] : a.storage_data) {
    const auto found = b.storage_data.find(index);
    REQUIRE(found != b.storage_data.end());
    CHECK(found->first.index == index.index);
  }
}

/// Random metadata in which every field varies.
inline Metadata RandomMetadata(std::mt19937* rng) {
  const auto upto = [rng](int64_t n) {
    return std::uniform_int_distribution<int64_t>(0, n)(*rng);
  };
  Metadata metadata;
  const int64_t keys = upto(40);
  for (int64_t k = 0; k < keys; ++k) {
    const std::string fqn = std::string(static_cast<size_t>(upto(300)), 'k') +
                            "\u2603" + std::to_string(k);
    if (upto(3) == 0) {
      metadata.Add(fqn, BytesStorageMetadata{});
      metadata.storage_data[{.fqn = fqn}] = {.relative_path = "__0_0.distcp",
                                             .offset = upto(1LL << 40)};
      continue;
    }
    TensorStorageMetadata tensor;
    const auto dtype = DTypeFromCode(static_cast<uint8_t>(1 + upto(31)));
    tensor.properties = {.dtype = *dtype,
                         .layout = static_cast<Layout>(upto(7)),
                         .requires_grad = upto(1) == 0,
                         .memory_format = static_cast<MemoryFormat>(upto(2)),
                         .pin_memory = upto(1) == 0};
    const int64_t ndim = upto(7);
    for (int64_t d = 0; d < ndim; ++d) tensor.size.push_back(upto(400));
    const int64_t rows = ndim == 0 ? 1 : tensor.size[0];
    const int64_t step = 1 + upto(100);
    for (int64_t row = 0; row < rows; row += step) {
      Box chunk = WholeBox(tensor.size);
      if (ndim > 0) {
        chunk.offsets[0] = row;
        chunk.sizes[0] = std::min(step, rows - row);
      }
      const auto index = static_cast<int64_t>(tensor.chunks.size());
      metadata.storage_data[{
          .fqn = fqn, .offset = chunk.offsets, .index = index}] = {
          .relative_path = "__" + std::to_string(upto(9)) + "_0.distcp",
          .offset = upto(std::numeric_limits<int64_t>::max() / 2),
          .length = upto(1 << 30)};
      tensor.chunks.push_back(std::move(chunk));
    }
    metadata.Add(fqn, std::move(tensor));
    if (upto(1) == 0) {
      if (!metadata.planner_data) metadata.planner_data.emplace();
      ObjectPath& path = (*metadata.planner_data)[fqn];
      for (int64_t i = upto(6); i > 0; --i) {
        upto(1) == 0 ? path.emplace_back(upto(1000)) : path.emplace_back(fqn);
      }
    }
  }
  if (upto(1) == 0) metadata.version = "1.0.0";
  if (upto(1) == 0) metadata.storage_meta.emplace().save_id = "s";
  return metadata;
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_RANDOM_METADATA_H_
