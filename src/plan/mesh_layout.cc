// torch shards a dimension mesh dimension by mesh dimension, from left to
// right; each takes of the rows that are left a set, which torch lists one by
// one. Here a set stays a rule: how many rows it has, and which row of those
// before is its i-th. A chunk needs only the first row and their number, so it
// costs a few divisions, whatever the tensor's size.

#include "plan/mesh_layout.h"

#include <algorithm>
#include <optional>

namespace dcp {
namespace {

constexpr int64_t kMaxMeshRanks = int64_t{1} << 31;

int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

/// Part `index` of `rows` rows under torch.chunk(count).
struct Part {
  int64_t begin = 0;
  int64_t rows = 0;
};

Part ChunkPart(int64_t rows, int64_t count, int64_t index) {
  const int64_t each = CeilDiv(rows, count);
  // Without a product that might overflow.
  if (each == 0 || index > rows / each) return {.begin = rows};
  return {.begin = each * index, .rows = std::min(each, rows - each * index)};
}

/// The rows that one mesh dimension leaves to a rank, of those before.
///
/// A strided shard is torch.chunk(split_factor), then of each piece
/// torch.chunk(count) and this rank's part, put together; a plain one is the
/// same with one piece. All pieces are equal but the last one.
class Step {
 public:
  Step(int64_t rows, const Placement& placement, int64_t count, int64_t index)
      : piece_rows_(CeilDiv(rows, placement.split_factor)),
        part_(ChunkPart(piece_rows_, count, index)) {
    full_pieces_ = piece_rows_ == 0 ? 0 : rows / piece_rows_;
    last_part_ = ChunkPart(rows - full_pieces_ * piece_rows_, count, index);
  }

  int64_t rows() const { return full_pieces_ * part_.rows + last_part_.rows; }

  /// Which of the rows before is row `i` of these.
  int64_t Before(int64_t i) const {
    const int64_t piece =
        part_.rows == 0 ? full_pieces_ : std::min(full_pieces_, i / part_.rows);
    const Part& part = piece < full_pieces_ ? part_ : last_part_;
    return piece * piece_rows_ + part.begin + (i - piece * part_.rows);
  }

 private:
  int64_t piece_rows_;
  Part part_;
  int64_t full_pieces_ = 0;
  Part last_part_;
};

/// What a rank has of one dimension of a tensor: its first row, the last one,
/// and how many.
struct Rows {
  int64_t first = 0;
  int64_t last = -1;
  int64_t count = 0;
};

/// The rows of `dim` from mesh dimension `mesh_dim` on, where `rows` are left;
/// numbers count within these.
Rows RowsFrom(const TensorLayout& layout, const Dims& mesh_sizes,
              const Dims& coordinate, int dim, int mesh_dim, int64_t rows) {
  for (; mesh_dim < mesh_sizes.size(); ++mesh_dim) {
    const Placement& placement =
        layout.placements[static_cast<size_t>(mesh_dim)];
    if (!placement.shards(dim)) continue;
    const Step step(rows, placement, mesh_sizes[mesh_dim],
                    coordinate[mesh_dim]);
    const Rows inner = RowsFrom(layout, mesh_sizes, coordinate, dim,
                                mesh_dim + 1, step.rows());
    if (inner.count == 0) return {};
    return {.first = step.Before(inner.first),
            .last = step.Before(inner.last),
            .count = inner.count};
  }
  return {.first = 0, .last = rows - 1, .count = rows};
}

Rows RowsOf(const TensorLayout& layout, const Dims& mesh_sizes,
            const Dims& coordinate, int dim) {
  return RowsFrom(layout, mesh_sizes, coordinate, dim, 0,
                  layout.global_size[dim]);
}

/// The first index above `index` whose shard has fewer rows, of a mesh
/// dimension with `count` ranks: shards never grow.
int64_t NextSmaller(int64_t rows, const Placement& placement, int64_t count,
                    int64_t index) {
  const int64_t here = Step(rows, placement, count, index).rows();
  int64_t low = index + 1;
  int64_t high = count;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (Step(rows, placement, count, middle).rows() < here) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/// Whether all shards of `dim` are whole runs that begin as `coordinate` says
/// and go on with any from `mesh_dim` on, where `rows` are left; `is_run` says
/// whether these follow one another.
///
/// Of a run, indexes with equally many rows make alike sets: the same pieces,
/// and gaps between them. Only index 0 may have no gaps. So one of each length
/// stands for all, and a mesh of any size has a few.
bool HaveWholeRuns(const TensorLayout& layout, const Dims& mesh_sizes, int dim,
                   int mesh_dim, int64_t rows, bool is_run, Dims* coordinate) {
  for (; mesh_dim < mesh_sizes.size(); ++mesh_dim) {
    const Placement& placement =
        layout.placements[static_cast<size_t>(mesh_dim)];
    if (!placement.shards(dim)) continue;
    const int64_t count = mesh_sizes[mesh_dim];
    for (int64_t i = 0; i < count;
         i = is_run && i > 0 ? NextSmaller(rows, placement, count, i) : i + 1) {
      (*coordinate)[mesh_dim] = i;
      if (!HaveWholeRuns(layout, mesh_sizes, dim, mesh_dim + 1,
                         Step(rows, placement, count, i).rows(),
                         is_run && placement.kind == Placement::Kind::kShard,
                         coordinate)) {
        return false;
      }
    }
    return true;
  }
  const Rows found = RowsOf(layout, mesh_sizes, *coordinate, dim);
  return found.last - found.first + 1 == found.count;
}

/// Sets the coordinate from `mesh_dim` on to the first empty shard of `rows`
/// rows; false if there is none.
bool FindEmptyFrom(const TensorLayout& layout, const Dims& mesh_sizes, int dim,
                   int mesh_dim, int64_t rows, Dims* coordinate) {
  if (rows == 0) return true;  // all are, and 0 is the first
  for (; mesh_dim < mesh_sizes.size(); ++mesh_dim) {
    const Placement& placement =
        layout.placements[static_cast<size_t>(mesh_dim)];
    if (!placement.shards(dim)) continue;
    const int64_t count = mesh_sizes[mesh_dim];
    for (int64_t i = 0; i < count; i = NextSmaller(rows, placement, count, i)) {
      (*coordinate)[mesh_dim] = i;
      if (FindEmptyFrom(layout, mesh_sizes, dim, mesh_dim + 1,
                        Step(rows, placement, count, i).rows(), coordinate)) {
        return true;
      }
    }
    (*coordinate)[mesh_dim] = 0;
    return false;
  }
  return false;
}

Status CheckMeshSizes(const Dims& mesh_sizes) {
  const std::optional<int64_t> ranks = CheckedNumel(mesh_sizes);
  if (ranks && *ranks >= 1 && *ranks <= kMaxMeshRanks) return absl::OkStatus();
  return InvalidArgument("a device mesh cannot have the sizes " +
                         ToString(mesh_sizes));
}

std::string ToString(const Placement& placement) {
  if (placement.kind == Placement::Kind::kReplicate) return "R";
  const std::string dim = std::to_string(placement.dim);
  if (placement.kind == Placement::Kind::kShard) return "S(" + dim + ")";
  return "_S(" + dim + ", " + std::to_string(placement.split_factor) + ")";
}

}  // namespace

std::string ToString(const TensorLayout& layout, const Dims& mesh_sizes) {
  std::string text =
      ToString(layout.global_size) + " over " + ToString(mesh_sizes) + " as (";
  for (const Placement& placement : layout.placements) {
    if (&placement != layout.placements.data()) text += ", ";
    text += ToString(placement);
  }
  return text + ")";
}

Status CheckLayout(const TensorLayout& layout, const Dims& mesh_sizes) {
  DCP_RETURN_IF_ERROR(CheckMeshSizes(mesh_sizes));
  const auto error = [&](const std::string& what) {
    return InvalidArgument("the layout " + ToString(layout, mesh_sizes) +
                           " has " + what);
  };
  if (!CheckedNumel(layout.global_size)) return error("an impossible size");
  if (layout.placements.size() != static_cast<size_t>(mesh_sizes.size())) {
    return error(std::to_string(layout.placements.size()) +
                 " placements for a mesh of " +
                 std::to_string(mesh_sizes.size()) + " dimensions");
  }
  for (const Placement& placement : layout.placements) {
    if (placement.kind == Placement::Kind::kReplicate) continue;
    if (placement.dim < 0 || placement.dim >= layout.global_size.size()) {
      return error("shards of dimension " + std::to_string(placement.dim) +
                   ", which the tensor does not have");
    }
    if (placement.split_factor < 1) return error("a split factor below 1");
  }
  return absl::OkStatus();
}

StatusOr<Box> ChunkAt(const TensorLayout& layout, const Dims& mesh_sizes,
                      const Dims& coordinate) {
  DCP_RETURN_IF_ERROR(CheckLayout(layout, mesh_sizes));
  bool is_inside = coordinate.size() == mesh_sizes.size();
  for (int d = 0; is_inside && d < coordinate.size(); ++d) {
    is_inside = coordinate[d] >= 0 && coordinate[d] < mesh_sizes[d];
  }
  if (!is_inside) {
    return InvalidArgument("the coordinate " + ToString(coordinate) +
                           " is outside of a mesh of " + ToString(mesh_sizes));
  }
  return KnownChunkAt(layout, mesh_sizes, coordinate);
}

Box KnownChunkAt(const TensorLayout& layout, const Dims& mesh_sizes,
                 const Dims& coordinate) {
  Box chunk = WholeBox(layout.global_size);
  for (int dim = 0; dim < chunk.ndim(); ++dim) {
    const Rows rows = RowsOf(layout, mesh_sizes, coordinate, dim);
    const bool is_sharded =
        std::any_of(layout.placements.begin(), layout.placements.end(),
                    [&](const Placement& p) { return p.shards(dim); });
    if (!is_sharded) continue;
    chunk.offsets[dim] = rows.count == 0 ? layout.global_size[dim] : rows.first;
    chunk.sizes[dim] = rows.count;
  }
  return chunk;
}

bool HasWholeRuns(const TensorLayout& layout, const Dims& mesh_sizes) {
  for (int dim = 0; dim < layout.global_size.size(); ++dim) {
    Dims coordinate = Dims::Filled(mesh_sizes.size(), 0);
    if (!HaveWholeRuns(layout, mesh_sizes, dim, 0, layout.global_size[dim],
                       true, &coordinate)) {
      return false;
    }
  }
  return true;
}

Dims FirstEmptyShard(const TensorLayout& layout, const Dims& mesh_sizes,
                     int dim) {
  Dims coordinate = Dims::Filled(mesh_sizes.size(), 0);
  FindEmptyFrom(layout, mesh_sizes, dim, 0, layout.global_size[dim],
                &coordinate);
  return coordinate;
}

Dims CoordinateOf(int64_t index, const Dims& sizes) {
  Dims coordinate = sizes;
  for (int d = sizes.size() - 1; d >= 0; --d) {
    coordinate[d] = index % sizes[d];
    index /= sizes[d];
  }
  return coordinate;
}

int64_t IndexOf(const Dims& coordinate, const Dims& sizes) {
  int64_t index = 0;
  for (int d = 0; d < sizes.size(); ++d) {
    index = index * sizes[d] + coordinate[d];
  }
  return index;
}

}  // namespace dcp
