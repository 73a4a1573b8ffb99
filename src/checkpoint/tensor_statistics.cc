#include "dcp/tensor_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "checkpoint/real_values.h"
#include "storage/environment.h"

namespace dcp {
namespace {

/// The mean of some numbers and how they are spread, put together from those of
/// parts (Chan, Golub and LeVeque 1979): no digits are lost to large sums.
class Moments {
 public:
  void Add(std::span<const double> part) {
    if (part.empty()) return;
    double sum = 0;
    for (const double value : part) sum += value;
    const auto count = static_cast<double>(part.size());
    const double mean = sum / count;
    double squares = 0;
    for (const double value : part) squares += (value - mean) * (value - mean);
    const double all = count_ + count;
    const double distance = mean - mean_;
    squares_ += squares + distance * distance * (count_ * count / all);
    mean_ += distance * (count / all);
    count_ = all;
  }

  double mean() const { return count_ > 0 ? mean_ : std::nan(""); }
  double standard_deviation() const {
    return count_ > 0 ? std::sqrt(squares_ / count_) : std::nan("");
  }

 private:
  double count_ = 0;
  double mean_ = 0;
  double squares_ = 0;  // sum of squared distances from the mean
};

class Accumulator {
 public:
  Accumulator() {
    counts_.min = std::numeric_limits<double>::infinity();
    counts_.max = -counts_.min;
  }

  /// Moves the finite ones of `values` to the front.
  void Add(std::span<double> values) {
    size_t finite = 0;
    for (const double value : values) {
      if (std::isfinite(value)) {
        values[finite++] = value;
      } else {
        CountSpecial(value);
      }
    }
    const auto part = std::span<const double>(values).first(finite);
    for (const double value : part) {
      counts_.zeros += value == 0 ? 1 : 0;
      counts_.min = std::min(counts_.min, value);
      counts_.max = std::max(counts_.max, value);
    }
    moments_.Add(part);
  }

  TensorStatistics Take() {
    TensorStatistics all = counts_;
    if (all.min > all.max) all.min = all.max = std::nan("");
    all.mean = moments_.mean();
    all.standard_deviation = moments_.standard_deviation();
    return all;
  }

 private:
  void CountSpecial(double value) {
    if (std::isnan(value)) {
      ++counts_.nans;
    } else {
      ++(value > 0 ? counts_.positive_infinities : counts_.negative_infinities);
    }
  }

  TensorStatistics counts_;
  Moments moments_;
};

/// Counts elements in bins of equal width.
class Bins {
 public:
  Bins(double min, double max, int64_t count)
      : half_min_(min / 2),
        half_width_(max / 2 - min / 2),  // the difference may be infinite
        counts_(static_cast<size_t>(count)) {}

  void Add(double value) {
    const auto last = static_cast<double>(counts_.size() - 1);
    const double place =
        half_width_ > 0 ? (value / 2 - half_min_) / half_width_ * (last + 1)
                        : 0;
    ++counts_[static_cast<size_t>(std::clamp(place, 0.0, last))];
  }

  std::vector<int64_t> Take() { return std::move(counts_); }

 private:
  const double half_min_;
  const double half_width_;
  std::vector<int64_t> counts_;
};

StatusOr<TensorStatistics> Accumulate(const std::string& path,
                                      std::string_view fqn,
                                      const StatisticsOptions& options,
                                      const StorageEnvironment& seams) {
  DCP_ASSIGN_OR_RETURN(const auto opened, OpenToLook(path, options.io, seams));
  Accumulator accumulator;
  DCP_ASSIGN_OR_RETURN(
      const TensorStorageMetadata* tensor,
      VisitRealValues(*opened, fqn, [&](std::span<double> values) {
        accumulator.Add(values);
      }));
  TensorStatistics statistics = accumulator.Take();
  statistics.dtype = tensor->properties.dtype;
  statistics.shape = tensor->size;
  statistics.elements = Numel(tensor->size);
  return statistics;
}

}  // namespace

StatusOr<TensorStatistics> ComputeStatistics(const std::string& path,
                                             std::string_view fqn,
                                             const StatisticsOptions& options,
                                             StorageEnvironment environment) {
  return Guarded([&] {
    return Accumulate(path, fqn, options, WithDefaults(std::move(environment)));
  });
}

StatusOr<TensorHistogram> ComputeHistogram(const std::string& path,
                                           std::string_view fqn,
                                           const HistogramOptions& options,
                                           StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<TensorHistogram> {
    if (options.bins < 1 || options.bins > kMaxHistogramBins) {
      return InvalidArgument("a histogram has 1 to " +
                             std::to_string(kMaxHistogramBins) + " bins, not " +
                             std::to_string(options.bins));
    }
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    TensorHistogram histogram;
    DCP_ASSIGN_OR_RETURN(histogram.statistics,
                         Accumulate(path, fqn, {.io = options.io}, seams));
    const TensorStatistics& known = histogram.statistics;
    DCP_ASSIGN_OR_RETURN(const auto opened,
                         OpenToLook(path, options.io, seams));
    Bins bins(known.min, known.max, options.bins);
    DCP_RETURN_IF_ERROR(
        VisitRealValues(*opened, fqn, [&](std::span<double> values) {
          for (const double value : values) {
            if (std::isfinite(value)) bins.Add(value);
          }
        }).status());
    histogram.counts = bins.Take();
    return histogram;
  });
}

}  // namespace dcp
