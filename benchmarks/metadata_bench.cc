#include "metadata_bench.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "dcp/metadata_codec.h"
#include "stopwatch.h"

namespace dcp::benchmarks {
namespace {

/// Lookups of a chunk by its first row, in the tensor with the most chunks.
void MeasureFinder(const Metadata& metadata, Stopwatch* watch) {
  const TensorStorageMetadata* largest = nullptr;
  for (const auto& [fqn, entry] : metadata.entries()) {
    const auto* tensor = std::get_if<TensorStorageMetadata>(&entry);
    if (tensor == nullptr) continue;
    if (largest == nullptr || tensor->chunks.size() > largest->chunks.size()) {
      largest = tensor;
    }
  }
  const ChunkFinder finder(*largest);
  watch->Print("index of one tensor's chunks");
  constexpr int64_t kLookups = 1'000'000;
  size_t found = 0;
  for (int64_t i = 0; i < kLookups; ++i) {
    Box box = WholeBox(largest->size);
    box.offsets[0] = i * 7919 % largest->size[0];
    box.sizes[0] = 1;
    found += finder.FindIntersecting(box).size();
  }
  watch->Print(("1,000,000 lookups among " +
                std::to_string(largest->chunks.size()) + " chunks")
                   .c_str());
  if (found != kLookups) std::printf("lookups found %zu\n", found);
}

/// What the writers' results bring: the place of every item of `plans`.
void PlaceItems(const std::vector<SavePlan>& plans, Metadata* metadata) {
  size_t count = 0;
  for (const SavePlan& plan : plans) count += plan.items.size();
  metadata->storage_data.reserve(2 * count);  // as the writers do
  std::vector<int64_t> chunk_counts(metadata->entries().size(), 0);
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    const std::string path = "__" + std::to_string(rank) + "_0.distcp";
    int64_t end = 0;
    for (const WriteItem& item : plans[rank].items) {
      MetadataIndex index = item.index();
      index.index = chunk_counts[metadata->Position(item.fqn)]++;
      const int64_t length = item.nbytes + 1600;
      metadata->storage_data.emplace(
          std::move(index),
          StorageInfo{.relative_path = path, .offset = end, .length = length});
      end += (length + 63) / 64 * 64;
    }
  }
}

}  // namespace

Status MeasureMetadata(GlobalPlan global) {
  PlaceItems(global.plans, &global.metadata);
  global.plans.clear();
  Stopwatch watch;
  DCP_ASSIGN_OR_RETURN(const std::string pickle,
                       SerializeMetadata(global.metadata));
  const double megabytes = static_cast<double>(pickle.size()) / 1e6;
  watch.Print("writes .metadata", megabytes);
  DCP_ASSIGN_OR_RETURN(const Metadata parsed, ParseMetadata(pickle));
  watch.Print("reads .metadata", megabytes);
  std::printf("%-44s %9.1f MB\n", ".metadata", megabytes);
  MeasureFinder(parsed, &watch);
  return absl::OkStatus();
}

}  // namespace dcp::benchmarks
