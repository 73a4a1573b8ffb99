// 1. Each tensor is cut into runs with one rank each: the rank's own bytes
//    where its box is one run of the tensor, else a share of the tensor as
//    large as the rank's part of it, in the order of ranks.
// 2. Short neighbours are put together until they are long enough; who has most
//    of them, or else writes least so far, writes them. What is too short at
//    the end of a row of short ones goes with its neighbour.
// 3. Borders are moved down to the alignment. What lies before the first
//    tensor, the header, goes with the first run.

#include "plan/shared_files.h"

#include <algorithm>
#include <map>

#include "base/chunk_image.h"

namespace dcp {
namespace {

struct Run {
  int64_t begin = 0;
  int64_t end = 0;
  int rank = 0;
};

int64_t NbytesOf(const Dims& sizes, const SharedTensor& tensor) {
  return Numel(sizes) * tensor.itemsize;
}

/// Where the first element of `box` lies in the file.
int64_t BeginOf(const Box& box, const SharedTensor& tensor) {
  int64_t position = 0;
  for (int d = 0; d < tensor.sizes.size(); ++d) {
    position = position * tensor.sizes[d] + box.offsets[d];
  }
  return tensor.begin + position * tensor.itemsize;
}

/// The runs of one tensor, in file order.
std::vector<Run> RunsOf(const SharedTensor& tensor,
                        std::span<const SharedChunk> chunks) {
  const ChunkImage image{.dtype = DType::kUInt8, .sizes = tensor.sizes};
  const bool are_runs = std::all_of(
      chunks.begin(), chunks.end(),
      [&](const SharedChunk& chunk) { return IsOneRun(image, chunk.box); });
  std::vector<Run> runs;
  if (are_runs) {
    for (const SharedChunk& chunk : chunks) {
      const int64_t begin = BeginOf(chunk.box, tensor);
      const int64_t end = begin + NbytesOf(chunk.box.sizes, tensor);
      if (begin < end) runs.push_back({begin, end, chunk.rank});
    }
    std::sort(runs.begin(), runs.end(),
              [](const Run& a, const Run& b) { return a.begin < b.begin; });
    return runs;
  }
  std::map<int, int64_t> shares;
  for (const SharedChunk& chunk : chunks) {
    shares[chunk.rank] += NbytesOf(chunk.box.sizes, tensor);
  }
  int64_t begin = tensor.begin;
  for (const auto& [rank, nbytes] : shares) {
    runs.push_back({begin, begin + nbytes, rank});
    begin += nbytes;
  }
  return runs;
}

/// Puts runs together, in file order.
class ExtentBuilder {
 public:
  ExtentBuilder(const ExtentOptions& options, std::vector<int64_t>* load)
      : options_(options), load_(*load) {}

  void Add(const Run& run) {
    const int64_t nbytes = run.end - run.begin;
    if (nbytes >= options_.min_nbytes) {
      FlushShort();
      Append(run.end, run.rank);
      return;
    }
    short_[run.rank] += nbytes;
    short_nbytes_ += nbytes;
    short_end_ = run.end;
    if (short_nbytes_ >= options_.min_nbytes) Append(short_end_, TakeOwner());
  }

  std::vector<OwnedExtent> Finish(int64_t file_nbytes) && {
    FlushShort();
    if (extents_.empty()) extents_.push_back({.begin = 0, .owner = 0});
    extents_.back().end = file_nbytes;
    Align();
    for (const OwnedExtent& extent : extents_) {
      load_[static_cast<size_t>(extent.owner)] += extent.end - extent.begin;
    }
    return std::move(extents_);
  }

 private:
  /// What is too short to stand alone goes with what comes before it.
  void FlushShort() {
    if (short_nbytes_ == 0) return;
    const int64_t end = short_end_;
    const int owner = TakeOwner();
    Append(end, extents_.empty() ? owner : extents_.back().owner);
  }

  /// Who has most of the short runs; of equals, who writes least.
  int TakeOwner() {
    const auto best = std::max_element(
        short_.begin(), short_.end(), [&](const auto& a, const auto& b) {
          if (a.second != b.second) return a.second < b.second;
          return LoadOf(a.first) > LoadOf(b.first);
        });
    const int owner = best->first;
    pending_load_[owner] += short_nbytes_;
    short_.clear();
    short_nbytes_ = 0;
    return owner;
  }

  int64_t LoadOf(int rank) const {
    const auto pending = pending_load_.find(rank);
    return load_[static_cast<size_t>(rank)] +
           (pending == pending_load_.end() ? 0 : pending->second);
  }

  void Append(int64_t end, int owner) {
    if (!extents_.empty() && extents_.back().owner == owner) {
      extents_.back().end = end;
      return;
    }
    const int64_t begin = extents_.empty() ? 0 : extents_.back().end;
    extents_.push_back({.begin = begin, .end = end, .owner = owner});
  }

  void Align() {
    for (size_t i = 1; i < extents_.size(); ++i) {
      const int64_t begin =
          extents_[i].begin / options_.alignment * options_.alignment;
      extents_[i - 1].end = begin;
      extents_[i].begin = begin;
    }
    std::erase_if(extents_,
                  [](const OwnedExtent& e) { return e.begin == e.end; });
  }

  const ExtentOptions& options_;
  std::vector<int64_t>& load_;
  std::vector<OwnedExtent> extents_;
  std::map<int, int64_t> short_;  // bytes by rank
  int64_t short_nbytes_ = 0;
  int64_t short_end_ = 0;
  std::map<int, int64_t> pending_load_;
};

}  // namespace

std::vector<OwnedExtent> AssignExtents(int64_t file_nbytes,
                                       std::span<const SharedTensor> tensors,
                                       std::span<const SharedChunk> chunks,
                                       const ExtentOptions& options,
                                       std::vector<int64_t>* load) {
  std::vector<std::vector<SharedChunk>> by_tensor(tensors.size());
  for (const SharedChunk& chunk : chunks) {
    by_tensor[chunk.tensor].push_back(chunk);
  }
  ExtentBuilder builder(options, load);
  for (size_t i = 0; i < tensors.size(); ++i) {
    for (const Run& run : RunsOf(tensors[i], by_tensor[i])) builder.Add(run);
  }
  return std::move(builder).Finish(file_nbytes);
}

}  // namespace dcp
