// ComputeStatistics: the numbers in a stored tensor, in a nutshell.

#ifndef DCP_TENSOR_STATISTICS_H_
#define DCP_TENSOR_STATISTICS_H_

#include <cstdint>
#include <string>
#include <string_view>

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

}  // namespace dcp

#endif  // DCP_TENSOR_STATISTICS_H_
