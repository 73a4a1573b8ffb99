#include "plan/sharded_dim.h"

#include <algorithm>

namespace dcp {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

}  // namespace

ShardStep::Part ShardStep::ChunkPart(int64_t rows, int64_t count,
                                     int64_t index) {
  const int64_t each = CeilDiv(rows, count);
  // Without a product that might overflow.
  if (each == 0 || index > rows / each) return {.begin = rows};
  return {.begin = each * index, .rows = std::min(each, rows - each * index)};
}

ShardStep::ShardStep(int64_t rows, const Placement& placement, int64_t count,
                     int64_t index)
    : piece_rows_(CeilDiv(rows, placement.split_factor)),
      part_(ChunkPart(piece_rows_, count, index)) {
  full_pieces_ = piece_rows_ == 0 ? 0 : rows / piece_rows_;
  last_part_ = ChunkPart(rows - full_pieces_ * piece_rows_, count, index);
}

int64_t ShardStep::Before(int64_t i) const {
  const int64_t piece =
      part_.rows == 0 ? full_pieces_ : std::min(full_pieces_, i / part_.rows);
  const Part& part = piece < full_pieces_ ? part_ : last_part_;
  return piece * piece_rows_ + part.begin + (i - piece * part_.rows);
}

/// The rows from mesh dimension `mesh_dim` on, where `rows` are left; numbers
/// count within these.
Rows ShardedDim::RowsFrom(int mesh_dim, int64_t rows,
                          const Dims& coordinate) const {
  mesh_dim = NextSharding(mesh_dim);
  if (mesh_dim == mesh_sizes_.size()) {
    return {.first = 0, .last = rows - 1, .count = rows};
  }
  const ShardStep step = StepAt(mesh_dim, rows, coordinate[mesh_dim]);
  const Rows inner = RowsFrom(mesh_dim + 1, step.rows(), coordinate);
  if (inner.count == 0) return {};
  return {.first = step.Before(inner.first),
          .last = step.Before(inner.last),
          .count = inner.count};
}

/// The first index above `index` whose shard of `rows` rows has fewer of them:
/// shards never grow.
int64_t ShardedDim::NextSmaller(int mesh_dim, int64_t rows,
                                int64_t index) const {
  const int64_t here = StepAt(mesh_dim, rows, index).rows();
  int64_t low = index + 1;
  int64_t high = mesh_sizes_[mesh_dim];
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (StepAt(mesh_dim, rows, middle).rows() < here) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/// Whether all shards are whole runs that begin as `coordinate` says and go on
/// with any from `mesh_dim` on, where `rows` are left; `is_run` says whether
/// these follow one another.
///
/// Of a run, indexes with equally many rows make alike sets: the same pieces,
/// and gaps between them (who has no gaps has whole pieces, and leaves nothing
/// to others). So one of each length stands for all, and there are few.
bool ShardedDim::HaveWholeRuns(int mesh_dim, int64_t rows, bool is_run,
                               Dims* coordinate) const {
  mesh_dim = NextSharding(mesh_dim);
  if (mesh_dim == mesh_sizes_.size()) {
    const Rows found = RowsOf(*coordinate);
    return found.last - found.first + 1 == found.count;
  }
  const bool stays_run = is_run && At(mesh_dim).kind == Placement::Kind::kShard;
  for (int64_t i = 0; i < mesh_sizes_[mesh_dim];
       i = is_run ? NextSmaller(mesh_dim, rows, i) : i + 1) {
    (*coordinate)[mesh_dim] = i;
    if (!HaveWholeRuns(mesh_dim + 1, StepAt(mesh_dim, rows, i).rows(),
                       stays_run, coordinate)) {
      return false;
    }
  }
  return true;
}

/// Sets the coordinate from `mesh_dim` on to the first empty shard of `rows`
/// rows; false if there is none.
bool ShardedDim::FindEmpty(int mesh_dim, int64_t rows, Dims* coordinate) const {
  if (rows == 0) return true;  // all are, and 0 is the first
  mesh_dim = NextSharding(mesh_dim);
  if (mesh_dim == mesh_sizes_.size()) return false;
  for (int64_t i = 0; i < mesh_sizes_[mesh_dim];
       i = NextSmaller(mesh_dim, rows, i)) {
    (*coordinate)[mesh_dim] = i;
    if (FindEmpty(mesh_dim + 1, StepAt(mesh_dim, rows, i).rows(), coordinate)) {
      return true;
    }
  }
  (*coordinate)[mesh_dim] = 0;
  return false;
}

}  // namespace dcp
