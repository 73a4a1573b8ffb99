#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "dcp/plan.h"

namespace dcp {
namespace {

int64_t EndOf(const Box& box, int dim) {
  return box.offsets[dim] + box.sizes[dim];
}

Dims Difference(Dims a, const Dims& b) {
  for (int d = 0; d < a.size(); ++d) a[d] -= b[d];
  return a;
}

/// The dimension in which the chunks are smallest, compared with the tensor.
int FinestDim(const TensorStorageMetadata& tensor) {
  int finest = 0;
  double least = std::numeric_limits<double>::infinity();
  for (int d = 0; d < tensor.size.size(); ++d) {
    double sum = 0;
    for (const Box& chunk : tensor.chunks) {
      sum += static_cast<double>(chunk.sizes[d]);
    }
    const double relative =
        sum / static_cast<double>(std::max<int64_t>(tensor.size[d], 1));
    if (relative < least) {
      least = relative;
      finest = d;
    }
  }
  return finest;
}

}  // namespace

ChunkFinder::ChunkFinder(const TensorStorageMetadata& tensor)
    : tensor_(tensor), sweep_dim_(FinestDim(tensor)) {
  const std::vector<Box>& chunks = tensor.chunks;
  if (tensor.size.empty()) return;
  const auto comes_before = [&](const Box& a, const Box& b) {
    return a.offsets[sweep_dim_] < b.offsets[sweep_dim_];
  };
  if (!std::is_sorted(chunks.begin(), chunks.end(), comes_before)) {
    order_.resize(chunks.size());
    std::iota(order_.begin(), order_.end(), uint32_t{0});
    std::sort(order_.begin(), order_.end(), [&](uint32_t a, uint32_t b) {
      return comes_before(chunks[a], chunks[b]);
    });
  }
  max_ends_.reserve(chunks.size());
  int64_t max_end = 0;
  for (size_t place = 0; place < chunks.size(); ++place) {
    max_end = std::max(max_end, EndOf(At(place), sweep_dim_));
    max_ends_.push_back(max_end);
  }
}

const Box& ChunkFinder::At(size_t place) const {
  return tensor_.chunks[order_.empty() ? place : order_[place]];
}

void ChunkFinder::FindIn(size_t begin, size_t end, const Box& box,
                         std::vector<size_t>* found) const {
  for (size_t place = begin; place < end; ++place) {
    if (!Intersect(At(place), box)) continue;
    found->push_back(order_.empty() ? place : order_[place]);
  }
}

std::vector<size_t> ChunkFinder::FindIntersecting(const Box& box) const {
  std::vector<size_t> found;
  if (box.ndim() == 0) {
    FindIn(0, tensor_.chunks.size(), box, &found);
    return found;
  }
  // Chunks before `first` end before the box; those that start after it are
  // cut off by `last`.
  const auto first = std::upper_bound(max_ends_.begin(), max_ends_.end(),
                                      box.offsets[sweep_dim_]) -
                     max_ends_.begin();
  size_t last = tensor_.chunks.size();
  for (size_t low = static_cast<size_t>(first); low < last;) {
    const size_t middle = low + (last - low) / 2;
    if (At(middle).offsets[sweep_dim_] < EndOf(box, sweep_dim_)) {
      low = middle + 1;
    } else {
      last = middle;
    }
  }
  FindIn(static_cast<size_t>(first), last, box, &found);
  std::sort(found.begin(), found.end());
  return found;
}

Status AppendReadItems(std::string_view fqn, const ChunkFinder& finder,
                       const TensorStorageMetadata& tensor,
                       const Box& destination_box, int64_t destination,
                       LoadPlan* plan) {
  const int64_t wanted = destination_box.numel();
  if (wanted == 0) return absl::OkStatus();
  const std::string key(fqn);
  int64_t planned = 0;
  for (size_t position : finder.FindIntersecting(destination_box)) {
    const Box& chunk = tensor.chunks[position];
    const Box common = Intersect(chunk, destination_box).value_or(Box{});
    ReadItem& item = plan->items.emplace_back();
    item.dest_index = {.fqn = key, .offset = destination_box.offsets};
    item.dest_offsets = Difference(common.offsets, destination_box.offsets);
    item.storage_index = {.fqn = key,
                          .offset = chunk.offsets,
                          .index = static_cast<int64_t>(position)};
    item.storage_offsets = Difference(common.offsets, chunk.offsets);
    item.lengths = common.sizes;
    item.destination = destination;
    planned += common.numel();
  }
  if (planned == wanted) return absl::OkStatus();
  return WithDetail(
      DataLoss("the stored chunks of " + key + " hold " +
               std::to_string(planned) + " of the " + std::to_string(wanted) +
               " elements of " + ToString(destination_box) + " of its shape " +
               ToString(tensor.size)),
      {.op = "plan", .fqn = key});
}

}  // namespace dcp
