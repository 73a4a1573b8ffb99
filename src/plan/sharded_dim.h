// ShardedDim: how the mesh dimensions of a layout cut one tensor dimension.
//
// torch shards a dimension mesh dimension by mesh dimension, from left to
// right; each takes of the rows that are left a set, which torch lists one by
// one. Here a set stays a rule: how many rows it has, and which row of those
// before is its i-th. A chunk needs only the first row and their number, so it
// costs a few divisions, whatever the tensor's size.

#ifndef DCP_PLAN_SHARDED_DIM_H_
#define DCP_PLAN_SHARDED_DIM_H_

#include <cstdint>

#include "dcp/dims.h"
#include "plan/mesh_layout.h"

namespace dcp {

/// The rows that one mesh dimension leaves to a rank, of those before.
///
/// A strided shard is torch.chunk(split_factor), then of each piece
/// torch.chunk(count) and this rank's part, put together; a plain one is the
/// same with one piece. All pieces are equal but the last one.
class ShardStep {
 public:
  ShardStep(int64_t rows, const Placement& placement, int64_t count,
            int64_t index);

  int64_t rows() const { return full_pieces_ * part_.rows + last_part_.rows; }

  /// Which of the rows before is row `i` of these.
  int64_t Before(int64_t i) const;

 private:
  /// A run of rows of a piece.
  struct Part {
    int64_t begin = 0;
    int64_t rows = 0;
  };

  /// Part `index` of `rows` rows under torch.chunk(count).
  static Part ChunkPart(int64_t rows, int64_t count, int64_t index);

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

/// How one dimension of a tensor is cut. Refers to what it is made of.
class ShardedDim {
 public:
  ShardedDim(const TensorLayout& layout, const Dims& mesh_sizes, int dim)
      : layout_(layout), mesh_sizes_(mesh_sizes), dim_(dim) {}

  bool is_sharded() const { return NextSharding(0) < mesh_sizes_.size(); }
  int64_t rows() const { return layout_.global_size[dim_]; }

  /// What the rank at `coordinate` of the mesh has.
  Rows RowsOf(const Dims& coordinate) const {
    return RowsFrom(0, rows(), coordinate);
  }
  /// See dcp::HasWholeRuns and FirstEmptyShard.
  bool HasWholeRuns() const {
    Dims coordinate = Dims::Filled(mesh_sizes_.size(), 0);
    return HaveWholeRuns(0, rows(), true, &coordinate);
  }
  Dims FirstEmpty() const {
    Dims coordinate = Dims::Filled(mesh_sizes_.size(), 0);
    FindEmpty(0, rows(), &coordinate);
    return coordinate;
  }

 private:
  const Placement& At(int mesh_dim) const {
    return layout_.placements[static_cast<size_t>(mesh_dim)];
  }
  /// The first mesh dimension from `mesh_dim` on that shards this one; that
  /// after the last one if none does.
  int NextSharding(int mesh_dim) const {
    while (mesh_dim < mesh_sizes_.size() && !At(mesh_dim).shards(dim_)) {
      ++mesh_dim;
    }
    return mesh_dim;
  }
  ShardStep StepAt(int mesh_dim, int64_t rows, int64_t index) const {
    return {rows, At(mesh_dim), mesh_sizes_[mesh_dim], index};
  }

  Rows RowsFrom(int mesh_dim, int64_t rows, const Dims& coordinate) const;
  int64_t NextSmaller(int mesh_dim, int64_t rows, int64_t index) const;
  bool HaveWholeRuns(int mesh_dim, int64_t rows, bool is_run,
                     Dims* coordinate) const;
  bool FindEmpty(int mesh_dim, int64_t rows, Dims* coordinate) const;

  const TensorLayout& layout_;
  const Dims& mesh_sizes_;
  int dim_;
};

}  // namespace dcp

#endif  // DCP_PLAN_SHARDED_DIM_H_
