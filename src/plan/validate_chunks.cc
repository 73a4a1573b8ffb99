#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "dcp/plan.h"
#include "plan/box_overlap.h"
#include "plan/chunk_faults.h"

namespace dcp {
namespace {

constexpr size_t kMaxErrors = 10;

/// Whether `chunk` holds nothing: ranks without a share of a tensor may say so
/// at any place.
bool IsEmpty(const Box& chunk, int ndim) {
  const auto numel = CheckedNumel(chunk.sizes);
  return chunk.offsets.size() == ndim && chunk.sizes.size() == ndim &&
         numel == int64_t{0};
}

/// What is wrong with the chunks of one tensor, empty if nothing is.
std::string FindFault(const TensorStorageMetadata& tensor,
                      CoverageRule coverage) {
  const std::optional<int64_t> numel = CheckedNumel(tensor.size);
  if (!numel) return "has an impossible size";
  for (const Box& chunk : tensor.chunks) {
    if (!InBounds(tensor.size, chunk) && !IsEmpty(chunk, tensor.size.size())) {
      return "has the chunk " + ToString(chunk) + " out of its bounds";
    }
  }
  if (const auto pair = FindOverlap(tensor.chunks)) {
    return "has the overlapping chunks " +
           ToString(tensor.chunks[pair->first]) + " and " +
           ToString(tensor.chunks[pair->second]);
  }
  if (coverage == CoverageRule::kAllowGaps) return "";
  int64_t covered = 0;  // at most numel: chunks are disjoint and in bounds
  for (const Box& chunk : tensor.chunks) covered += chunk.numel();
  if (covered == *numel) return "";
  return "has gaps: its " + std::to_string(tensor.chunks.size()) +
         " chunks hold " + std::to_string(covered) + " of " +
         std::to_string(*numel) + " elements";
}

}  // namespace

std::vector<ChunkFault> FindChunkFaults(const Metadata& metadata,
                                        CoverageRule coverage) {
  std::vector<ChunkFault> faults;
  for (const auto& [fqn, entry] : metadata.entries()) {
    const auto* tensor = std::get_if<TensorStorageMetadata>(&entry);
    if (tensor == nullptr) continue;
    std::string what = FindFault(*tensor, coverage);
    if (what.empty()) continue;
    faults.push_back(
        {.fqn = fqn, .size = tensor->size, .what = std::move(what)});
  }
  return faults;
}

Status InvalidChunks(std::span<const ChunkFault> faults) {
  std::string text;
  for (size_t i = 0; i < std::min(faults.size(), kMaxErrors); ++i) {
    if (i > 0) text += "; ";
    text += faults[i].fqn;
    text += " of shape " + ToString(faults[i].size) + " " + faults[i].what;
  }
  if (faults.size() > kMaxErrors) {
    text +=
        "; and " + std::to_string(faults.size() - kMaxErrors) + " more tensors";
  }
  return InvalidArgument("invalid chunks: " + text);
}

Status ValidateChunks(const Metadata& metadata, CoverageRule coverage) {
  const std::vector<ChunkFault> faults = FindChunkFaults(metadata, coverage);
  return faults.empty() ? absl::OkStatus() : InvalidChunks(faults);
}

}  // namespace dcp
