// ComputeStatistics: the numbers in a stored tensor, in a nutshell.

#ifndef DCP_TENSOR_STATISTICS_H_
#define DCP_TENSOR_STATISTICS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

struct TensorStatistics {
  DType dtype = DType::kFloat32;
  Dims shape;
  int64_t elements = 0;
  int64_t nans = 0;
  int64_t positive_infinities = 0;
  int64_t negative_infinities = 0;
  int64_t zeros = 0;
  /// Of the finite elements, as float64; NaN if there are none.
  double min = 0;
  double max = 0;
  double mean = 0;
  /// The square root of the mean squared distance from the mean (numpy's std).
  double standard_deviation = 0;
};

struct StatisticsOptions {
  IoOptions io;
};

/// Reads the tensor `fqn` of the checkpoint at `path` (see Describe), once and
/// bit by bit. False counts as 0, true as 1.
/// \error kNotFound  no checkpoint, or no such tensor in it (KeyNotFound)
/// \error kUnimplemented  not a tensor of real numbers
StatusOr<TensorStatistics> ComputeStatistics(
    const std::string& path, std::string_view fqn,
    const StatisticsOptions& options = {}, StorageEnvironment environment = {});

struct HistogramOptions {
  int64_t bins = 64;  ///< 1 to kMaxHistogramBins
  IoOptions io;
};

inline constexpr int64_t kMaxHistogramBins = 4096;

struct TensorHistogram {
  TensorStatistics statistics;
  /// Finite elements in bins of equal width from statistics.min to max, of
  /// which each has its lower end and the last both. All are in the first where
  /// min and max are equal.
  std::vector<int64_t> counts;
};

/// As ComputeStatistics, and how the elements are spread. Reads the tensor
/// twice; one that changes meanwhile is counted as if its new elements lay
/// between the old ends.
/// \error kInvalidArgument  options.bins is out of bounds
StatusOr<TensorHistogram> ComputeHistogram(const std::string& path,
                                           std::string_view fqn,
                                           const HistogramOptions& options = {},
                                           StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_TENSOR_STATISTICS_H_
