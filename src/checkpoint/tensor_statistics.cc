#include "dcp/tensor_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "base/cast.h"
#include "base/guarded.h"
#include "checkpoint/opened_path.h"
#include "checkpoint/tensor_stream.h"
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
  explicit Accumulator(DType dtype) : dtype_(dtype) {
    counts_.min = std::numeric_limits<double>::infinity();
    counts_.max = -counts_.min;
  }

  /// `bytes` are whole elements, of any number.
  void Add(std::span<const std::byte> bytes) {
    const auto itemsize = static_cast<size_t>(ItemSize(dtype_));
    for (size_t at = 0; at < bytes.size();) {
      const size_t count = std::min(kPart, (bytes.size() - at) / itemsize);
      AddPart(bytes.subspan(at, count * itemsize), count);
      at += count * itemsize;
    }
  }

  TensorStatistics Take() {
    TensorStatistics all = counts_;
    if (all.min > all.max) all.min = all.max = std::nan("");
    all.mean = moments_.mean();
    all.standard_deviation = moments_.standard_deviation();
    return all;
  }

 private:
  static constexpr size_t kPart = 4096;

  void AddPart(std::span<const std::byte> bytes, size_t count) {
    CastElements(dtype_, bytes.data(), DType::kFloat64,
                 reinterpret_cast<std::byte*>(values_.data()),
                 static_cast<int64_t>(count));
    size_t finite = 0;
    for (size_t i = 0; i < count; ++i) {
      const double value = values_[i];
      if (std::isfinite(value)) {
        values_[finite++] = value;
      } else {
        CountSpecial(value);
      }
    }
    const auto part = std::span<const double>(values_).first(finite);
    for (const double value : part) {
      counts_.zeros += value == 0 ? 1 : 0;
      counts_.min = std::min(counts_.min, value);
      counts_.max = std::max(counts_.max, value);
    }
    moments_.Add(part);
  }

  void CountSpecial(double value) {
    if (std::isnan(value)) {
      ++counts_.nans;
    } else {
      ++(value > 0 ? counts_.positive_infinities : counts_.negative_infinities);
    }
  }

  const DType dtype_;
  TensorStatistics counts_;
  Moments moments_;
  std::vector<double> values_ = std::vector<double>(kPart);
};

StatusOr<const TensorStorageMetadata*> FindRealTensor(const Metadata& metadata,
                                                      std::string_view fqn) {
  const TensorStorageMetadata* tensor = metadata.FindTensor(fqn);
  if (tensor == nullptr) {
    return KeyNotFound(fqn,
                       "no tensor " + std::string(fqn) + " in the checkpoint");
  }
  const DTypeInfo& info = GetDTypeInfo(tensor->properties.dtype);
  if (info.kind == DTypeKind::kFloat || info.kind == DTypeKind::kInteger ||
      info.kind == DTypeKind::kBool) {
    return tensor;
  }
  return Unimplemented("statistics are of real numbers, and " +
                       std::string(fqn) + " is of dtype " +
                       std::string(info.name));
}

StatusOr<TensorStatistics> Accumulate(OpenedPath& opened,
                                      std::string_view fqn) {
  DCP_ASSIGN_OR_RETURN(const TensorStorageMetadata* tensor,
                       FindRealTensor(opened.index.metadata, fqn));
  DCP_RETURN_IF_ERROR(PrepareToRead(opened));
  const DType dtype = tensor->properties.dtype;
  const int64_t elements = Numel(tensor->size);
  const int64_t nbytes = elements * ItemSize(dtype);
  TensorStream stream(opened.index, *opened.reader, {&fqn, 1});
  DCP_RETURN_IF_ERROR(stream.Start());
  Accumulator accumulator(dtype);
  std::vector<std::byte> step(TensorStream::kStepNbytes);
  for (int64_t at = 0; at < nbytes; at += TensorStream::kStepNbytes) {
    const auto part = std::span(step).first(
        static_cast<size_t>(std::min(TensorStream::kStepNbytes, nbytes - at)));
    DCP_RETURN_IF_ERROR(stream.Read(0, at, part));
    accumulator.Add(part);
  }
  TensorStatistics statistics = accumulator.Take();
  statistics.dtype = dtype;
  statistics.shape = tensor->size;
  statistics.elements = elements;
  return statistics;
}

}  // namespace

StatusOr<TensorStatistics> ComputeStatistics(const std::string& path,
                                             std::string_view fqn,
                                             const StatisticsOptions& options,
                                             StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<TensorStatistics> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    DCP_ASSIGN_OR_RETURN(const auto opened, OpenPath(path, options.io, seams));
    return Accumulate(*opened, fqn);
  });
}

}  // namespace dcp
