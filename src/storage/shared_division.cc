#include "storage/shared_division.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "plan/box_ranges.h"

namespace dcp {
namespace {

/// Whether bytes [begin, end) of the file hold something of `chunk`.
bool Meets(const SharedPartTensor& tensor, const SharedPartChunk& chunk,
           int64_t begin, int64_t end) {
  begin = std::max(begin, tensor.begin);
  end = std::min(end, tensor.end());
  if (begin >= end) return false;
  const int64_t itemsize = ItemSize(tensor.dtype);
  const auto count = [&](int64_t at) {
    return CountBefore(tensor.sizes, chunk.box, (at - tensor.begin) / itemsize);
  };
  return count(begin) < count(end);
}

/// The bytes of the file from the first to the last element of `chunk`.
std::pair<int64_t, int64_t> HullOf(const SharedPartTensor& tensor,
                                   const Box& box) {
  int64_t first = 0;
  int64_t last = 0;
  for (int d = 0; d < box.ndim(); ++d) {
    if (box.sizes[d] == 0) return {tensor.begin, tensor.begin};
    first = first * tensor.sizes[d] + box.offsets[d];
    last = last * tensor.sizes[d] + box.offsets[d] + box.sizes[d] - 1;
  }
  const int64_t itemsize = ItemSize(tensor.dtype);
  return {tensor.begin + first * itemsize,
          tensor.begin + (last + 1) * itemsize};
}

/// Tells ranks what of one file concerns them.
class FileDivider {
 public:
  FileDivider(const SharedLayoutFile& file, size_t world_size)
      : file_(file), parts_(world_size), extents_(world_size) {
    for (size_t e = 0; e < file.extents.size(); ++e) {
      extents_[static_cast<size_t>(file.extents[e].owner)].insert(e);
    }
  }

  std::vector<SharedPartFile> Divide() && {
    for (const SharedPartTensor& tensor : file_.tensors) AddTensor(tensor);
    for (size_t rank = 0; rank < parts_.size(); ++rank) {
      parts_[rank].nbytes = file_.nbytes();
      for (const size_t e : extents_[rank]) {
        parts_[rank].extents.push_back(file_.extents[e]);
      }
    }
    // A long one may reach into a second extent.
    for (const OwnedExtent& extent : file_.extents) {
      if (extent.begin >= std::ssize(file_.head.bytes)) break;
      parts_[static_cast<size_t>(extent.owner)].head = file_.head.bytes;
    }
    return std::move(parts_);
  }

 private:
  void AddTensor(const SharedPartTensor& tensor) {
    std::map<int, std::vector<size_t>> known;  // rank -> chunks, in order
    for (size_t c = 0; c < tensor.chunks.size(); ++c) {
      const SharedPartChunk& chunk = tensor.chunks[c];
      known[chunk.rank].push_back(c);
      for (const int owner : OwnersOf(tensor, chunk)) known[owner].push_back(c);
    }
    for (const auto& [rank, chunks] : known) {
      SharedPartTensor part{
          .begin = tensor.begin, .dtype = tensor.dtype, .sizes = tensor.sizes};
      for (const size_t c : chunks) {
        part.chunks.push_back(tensor.chunks[c]);
        if (part.chunks.back().rank != rank) part.chunks.back().source = -1;
      }
      parts_[static_cast<size_t>(rank)].tensors.push_back(std::move(part));
    }
  }

  /// Other ranks that write something of `chunk`, whose rank learns of their
  /// extents.
  std::set<int> OwnersOf(const SharedPartTensor& tensor,
                         const SharedPartChunk& chunk) {
    std::set<int> owners;
    const auto [begin, end] = HullOf(tensor, chunk.box);
    const auto& extents = file_.extents;
    auto extent = std::partition_point(
        extents.begin(), extents.end(),
        [at = begin](const OwnedExtent& e) { return e.end <= at; });
    for (; extent != extents.end() && extent->begin < end; ++extent) {
      if (extent->owner == chunk.rank ||
          !Meets(tensor, chunk, extent->begin, extent->end)) {
        continue;
      }
      owners.insert(extent->owner);
      extents_[static_cast<size_t>(chunk.rank)].insert(
          static_cast<size_t>(extent - extents.begin()));
    }
    return owners;
  }

  const SharedLayoutFile& file_;
  std::vector<SharedPartFile> parts_;
  std::vector<std::set<size_t>> extents_;  // by rank: which concern it
};

/// All of a rank's own file: others have nothing to do with it.
SharedPartFile OwnFile(const SharedLayoutFile& file) {
  return {.is_own = true,
          .nbytes = file.nbytes(),
          .head = file.head.bytes,
          .tensors = file.tensors,
          .extents = file.extents};
}

}  // namespace

std::vector<std::vector<size_t>> FilesOfRanks(const SharedLayout& layout,
                                              size_t world_size) {
  std::vector<std::vector<size_t>> files(world_size);
  for (size_t f = 0; f < layout.files.size(); ++f) {
    if (const std::optional<int> rank = layout.files[f].rank) {
      files[static_cast<size_t>(*rank)].push_back(f);
      continue;
    }
    for (std::vector<size_t>& of_rank : files) of_rank.push_back(f);
  }
  return files;
}

std::vector<SharedPart> PartsOfRanks(const SharedLayout& layout,
                                     size_t world_size) {
  std::vector<SharedPart> parts(world_size);
  for (const SharedLayoutFile& file : layout.files) {
    if (file.rank) {
      parts[static_cast<size_t>(*file.rank)].files.push_back(OwnFile(file));
      continue;
    }
    std::vector<SharedPartFile> divided =
        FileDivider(file, world_size).Divide();
    for (size_t rank = 0; rank < world_size; ++rank) {
      parts[rank].files.push_back(std::move(divided[rank]));
    }
  }
  return parts;
}

}  // namespace dcp
