#include "metadata_bench.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "dcp/metadata_codec.h"
#include "dcp/storage.h"
#include "format/indexed_metadata.h"
#include "format/metadata_serializer.h"
#include "format/place_table.h"
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

/// The place of every item of `plans`, rank by rank, as writers report them.
std::vector<WriteResult> ResultsOf(const std::vector<SavePlan>& plans,
                                   const Metadata& metadata) {
  size_t count = 0;
  for (const SavePlan& plan : plans) count += plan.items.size();
  std::vector<WriteResult> results;
  results.reserve(count);
  std::vector<int64_t> chunk_counts(metadata.entries().size(), 0);
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    const std::string path = "__" + std::to_string(rank) + "_0.distcp";
    int64_t end = 0;
    for (const WriteItem& item : plans[rank].items) {
      MetadataIndex index = item.index();
      index.index = chunk_counts[metadata.Position(item.fqn)]++;
      const int64_t length = item.nbytes + 1600;
      results.push_back(
          {.index = std::move(index),
           .size_in_bytes = item.nbytes,
           .storage_info = {
               .relative_path = path, .offset = end, .length = length}});
      end += (length + 63) / 64 * 64;
    }
  }
  return results;
}

PlaceTable PlacesOf(const Metadata& metadata,
                    const std::vector<WriteResult>& results) {
  PlaceTable places(metadata);
  for (const WriteResult& result : results) {
    places.Add(result.index, result.storage_info);
  }
  places.Finish();
  return places;
}

Status MeasureIndexOf(const Metadata& metadata, const PlaceTable& places,
                      Stopwatch* watch) {
  size_t nbytes = 0;
  DCP_RETURN_IF_ERROR(WriteIndexedMetadata(metadata, places, {},
                                           [&nbytes](std::string_view part) {
                                             nbytes += part.size();
                                             return absl::OkStatus();
                                           }));
  watch->Print("writes its index", static_cast<double>(nbytes) / 1e6);
  return absl::OkStatus();
}

}  // namespace

Status MeasureMetadata(GlobalPlan global) {
  const Metadata& metadata = global.metadata;
  const std::vector<WriteResult> results = ResultsOf(global.plans, metadata);
  global.plans.clear();
  Stopwatch watch;
  const PlaceTable places = PlacesOf(metadata, results);
  watch.Print("puts places in order");
  DCP_ASSIGN_OR_RETURN(std::string pickle, SerializeMetadata(metadata, places));
  const double megabytes = static_cast<double>(pickle.size()) / 1e6;
  watch.Print("writes .metadata, places in order", megabytes);
  DCP_RETURN_IF_ERROR(MeasureIndexOf(metadata, places, &watch));
  pickle = {};
  watch.Restart();
  DCP_ASSIGN_OR_RETURN(
      pickle, SerializeMetadata(metadata, PlacesOf(metadata, results)));
  watch.Print("both: writes .metadata", megabytes);
  DCP_ASSIGN_OR_RETURN(const Metadata parsed, ParseMetadata(pickle));
  watch.Print("reads .metadata", megabytes);
  DCP_RETURN_IF_ERROR(SerializeMetadata(parsed).status());
  watch.Print("writes .metadata that was read", megabytes);
  std::printf("%-44s %9.1f MB\n", ".metadata", megabytes);
  MeasureFinder(parsed, &watch);
  return absl::OkStatus();
}

}  // namespace dcp::benchmarks
