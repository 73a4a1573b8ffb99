#include "dcp/tensor_statistics.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::RandomTensor;
using conformance::State;

template <typename T>
conformance::StateTensor TensorOf(DType dtype, const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {.dtype = dtype,
          .sizes = {static_cast<int64_t>(values.size())},
          .bytes = bytes};
}

StatusOr<TensorStatistics> StatisticsOf(const State& state,
                                        const std::string& fqn) {
  return ComputeStatistics("/ckpt", fqn,
                           {.io = ModestIo(IoEngineKind::kThreads)},
                           {.file_system = Saved(state, {})});
}

TensorStatistics MustCompute(const conformance::StateTensor& tensor) {
  State state;
  state.tensors["t"] = tensor;
  const auto statistics = StatisticsOf(state, "t");
  CAPTURE(Message(statistics.status()));
  REQUIRE(statistics.ok());
  return *statistics;
}

TEST_CASE("finite numbers are summed up, others counted",
          "[checkpoint][statistics]") {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto found = MustCompute(TensorOf<float>(
      DType::kFloat32, {1, -3, 0, std::nanf(""), infinity, infinity, -infinity,
                        std::nanf(""), 6, -0.0F}));
  CHECK(found.dtype == DType::kFloat32);
  CHECK(found.shape == Dims{10});
  CHECK(found.elements == 10);
  CHECK(found.nans == 2);
  CHECK(found.positive_infinities == 2);
  CHECK(found.negative_infinities == 1);
  CHECK(found.zeros == 2);
  CHECK(found.min == -3);
  CHECK(found.max == 6);
  CHECK(found.mean == Approx(0.8));
  CHECK(found.standard_deviation == Approx(std::sqrt(46 / 5.0 - 0.64)));
}

TEST_CASE("a tensor of several steps and chunks is one",
          "[checkpoint][statistics]") {
  // Far from 0, where a sum of squares would lose all digits of the spread.
  std::vector<double> values(400'000);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = 1e9 + static_cast<double>(i % 2);
  }
  const auto found = MustCompute(TensorOf(DType::kFloat64, values));
  CHECK(found.elements == 400'000);
  CHECK(found.min == 1e9);
  CHECK(found.max == 1e9 + 1);
  CHECK(found.mean == Approx(1e9 + 0.5).epsilon(1e-15));
  CHECK(found.standard_deviation == Approx(0.5).epsilon(1e-9));
}

TEST_CASE("every type of real numbers counts", "[checkpoint][statistics]") {
  const auto integers = MustCompute(TensorOf<int8_t>(DType::kInt8, {-7, 9}));
  CHECK(integers.min == -7);
  CHECK(integers.mean == 1);
  const auto flags = MustCompute(TensorOf<uint8_t>(DType::kBool, {1, 0, 1, 1}));
  CHECK(flags.mean == 0.75);
  CHECK(flags.zeros == 1);
  // 1.0 and -2.0
  const auto narrow =
      MustCompute(TensorOf<uint16_t>(DType::kBFloat16, {0x3F80, 0xC000}));
  CHECK(narrow.min == -2);
  CHECK(narrow.max == 1);
}

TEST_CASE("nothing has no mean", "[checkpoint][statistics]") {
  const auto found = MustCompute(TensorOf<float>(DType::kFloat32, {}));
  CHECK(found.elements == 0);
  CHECK(std::isnan(found.min));
  CHECK(std::isnan(found.mean));
  CHECK(std::isnan(found.standard_deviation));
}

std::vector<int64_t> CountsOf(const conformance::StateTensor& tensor,
                              int64_t bins) {
  State state;
  state.tensors["t"] = tensor;
  const auto found = ComputeHistogram(
      "/ckpt", "t", {.bins = bins, .io = ModestIo(IoEngineKind::kThreads)},
      {.file_system = Saved(state, {})});
  CAPTURE(Message(found.status()));
  REQUIRE(found.ok());
  return found->counts;
}

TEST_CASE("a histogram counts finite elements in bins of equal width",
          "[checkpoint][statistics]") {
  using Counts = std::vector<int64_t>;
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(CountsOf(
            TensorOf<float>(DType::kFloat32, {0, 1, 1.5F, 2, 3.9F, 4, infinity,
                                              std::nanf(""), -infinity}),
            4) == Counts{1, 2, 1, 2});
  CHECK(CountsOf(TensorOf<float>(DType::kFloat32, {3, 3, 3}), 3) ==
        Counts{3, 0, 0});
  CHECK(CountsOf(TensorOf<float>(DType::kFloat32, {}), 2) == Counts{0, 0});
  const double largest = std::numeric_limits<double>::max();
  CHECK(CountsOf(TensorOf<double>(DType::kFloat64, {-largest, 0, largest}),
                 2) == Counts{1, 2});
  CHECK(CountsOf(TensorOf<int8_t>(DType::kInt8, {-7, 9}), 1) == Counts{2});
}

TEST_CASE("a histogram has bins", "[checkpoint][statistics]") {
  for (const int64_t bins : {int64_t{0}, kMaxHistogramBins + 1}) {
    CHECK(ComputeHistogram("/ckpt", "t", {.bins = bins}).status().code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("what has no statistics is an error that names it",
          "[checkpoint][statistics]") {
  State state = conformance::SmallState(1);
  state.tensors["complex"] = RandomTensor(3, DType::kComplex64, {2});
  for (const char* key : {"absent", "step"}) {
    const Status missing = StatisticsOf(state, key).status();
    CHECK(missing.code() == absl::StatusCode::kNotFound);
    CHECK(GetErrorDetail(missing).value().fqn == key);
  }
  const Status complex = StatisticsOf(state, "complex").status();
  CHECK(complex.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(std::string(Message(complex)), Catch::Contains("complex64"));
}

}  // namespace
}  // namespace dcp
