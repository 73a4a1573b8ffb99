#include "storage/shared_cells.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "plan/box_ranges.h"

namespace dcp {
namespace {

/// The element of `tensor` that lies at `position` of the file, or the next
/// one's number where the tensor begins later, or ends before.
int64_t ElementAt(const SharedPartTensor& tensor, int64_t position) {
  const int64_t at = std::clamp(position, tensor.begin, tensor.end());
  return (at - tensor.begin) / ItemSize(tensor.dtype);
}

template <typename Visit>
void ForEachCell(const SharedPart& part, const Visit& visit) {
  for (size_t f = 0; f < part.files.size(); ++f) {
    for (const OwnedExtent& extent : part.files[f].extents) {
      for (int64_t at = extent.begin; at < extent.end;) {
        const Cell cell = CellAt(f, extent, at);
        visit(extent, cell);
        at = cell.end;
      }
    }
  }
}

void AddIncoming(const Cell& cell, const std::vector<CellPart>& parts, int rank,
                 std::map<int, CellMessages>* messages) {
  std::map<int, int64_t> nbytes;
  for (const CellPart& part : parts) {
    if (part.chunk->rank != rank) nbytes[part.chunk->rank] += part.nbytes();
  }
  for (const auto& [sender, count] : nbytes) {
    CellMessages& from = (*messages)[sender];
    from.incoming_of.emplace(cell, from.incoming.size());
    from.incoming.push_back(count);
  }
}

}  // namespace

Cell CellAt(size_t file, const OwnedExtent& extent, int64_t begin) {
  const int64_t next = (begin / kSharedCellNbytes + 1) * kSharedCellNbytes;
  return {.file = file, .begin = begin, .end = std::min(extent.end, next)};
}

std::vector<CellPart> PartsOf(const SharedPartFile& file, const Cell& cell) {
  std::vector<CellPart> parts;
  auto tensor = std::partition_point(
      file.tensors.begin(), file.tensors.end(),
      [&](const SharedPartTensor& t) { return t.end() <= cell.begin; });
  for (; tensor != file.tensors.end() && tensor->begin < cell.end; ++tensor) {
    const int64_t first = ElementAt(*tensor, cell.begin);
    const int64_t last = ElementAt(*tensor, cell.end);
    for (const SharedPartChunk& chunk : tensor->chunks) {
      const CellPart part{.tensor = &*tensor,
                          .chunk = &chunk,
                          .begin = CountBefore(tensor->sizes, chunk.box, first),
                          .end = CountBefore(tensor->sizes, chunk.box, last)};
      if (part.begin < part.end) parts.push_back(part);
    }
  }
  return parts;
}

void PutPart(const CellPart& part, const Cell& cell,
             std::span<const std::byte> bytes, std::span<std::byte> out) {
  const int64_t itemsize = ItemSize(part.tensor->dtype);
  const int64_t base = part.tensor->begin - cell.begin;
  ForEachRunOf(part.tensor->sizes, part.chunk->box, part.begin, part.end,
               [&](const BoxRun& run) {
                 std::memcpy(
                     out.data() + base + run.position * itemsize,
                     bytes.data() + (run.in_box - part.begin) * itemsize,
                     static_cast<size_t>(run.count * itemsize));
               });
}

std::map<int, CellMessages> MessagesOf(const SharedPart& part, int rank) {
  std::map<int, CellMessages> messages;
  ForEachCell(part, [&](const OwnedExtent& extent, const Cell& cell) {
    std::vector<CellPart> parts = PartsOf(part.files[cell.file], cell);
    if (extent.owner == rank) {
      AddIncoming(cell, parts, rank, &messages);
      return;
    }
    std::erase_if(parts,
                  [rank](const CellPart& p) { return p.chunk->rank != rank; });
    if (!parts.empty()) {
      messages[extent.owner].outgoing.push_back(std::move(parts));
    }
  });
  return messages;
}

}  // namespace dcp
