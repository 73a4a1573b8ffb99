#include "dcp/tensor_copy.h"

#include <catch2/catch.hpp>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "testing/fake_device.h"

namespace dcp {
namespace {

using testing::FakeDevice;

std::vector<int32_t> CountUp(size_t count) {
  std::vector<int32_t> values(count);
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TensorView Transposed(std::vector<int32_t>& values, int64_t rows,
                      int64_t columns) {
  TensorView view =
      ContiguousView(values.data(), DType::kInt32, {rows, columns});
  view.strides = {1, rows};
  return view;
}

TEST_CASE("a copy follows the strides of both sides", "[tensor_copy]") {
  FakeDevice device;
  // More than one buffer full, in an order that neither side has in memory.
  constexpr int64_t kRows = 701;
  constexpr int64_t kColumns = 503;
  std::vector<int32_t> source = CountUp(kRows * kColumns);
  std::vector<int32_t> packed(source.size());
  REQUIRE(CopyTensor(
              Transposed(source, kRows, kColumns),
              ContiguousView(packed.data(), DType::kInt32, {kRows, kColumns}),
              device)
              .ok());
  CHECK(packed[0] == 0);
  CHECK(packed[1] == kRows);
  CHECK(packed[kColumns] == 1);
  std::vector<int32_t> back(source.size());
  REQUIRE(CopyTensor(
              ContiguousView(packed.data(), DType::kInt32, {kRows, kColumns}),
              Transposed(back, kRows, kColumns), device)
              .ok());
  CHECK((back == source));
  CHECK(device.copies() == 0);
}

TEST_CASE("a copy between two strided views converts", "[tensor_copy]") {
  FakeDevice device;
  std::vector<int32_t> source = CountUp(6);
  std::vector<double> target(12, -1);
  TensorView destination =
      ContiguousView(target.data(), DType::kFloat64, {2, 3});
  destination.strides = {6, 2};
  REQUIRE(CopyTensor(Transposed(source, 2, 3), destination, device).ok());
  CHECK(target ==
        std::vector<double>{0, -1, 2, -1, 4, -1, 1, -1, 3, -1, 5, -1});
}

/// What lies in host memory as it does in the device's, and back.
template <typename Value>
void TurnOver(std::vector<Value>& values) {
  for (Value& value : values) value = ~value;
}

TEST_CASE("a copy crosses between host and device both ways", "[tensor_copy]") {
  FakeDevice device;
  const std::vector<int32_t> values = CountUp(600000);
  std::vector<int32_t> source = values;
  std::vector<int64_t> target(source.size());
  TensorView from = ContiguousView(source.data(), DType::kInt32, {600, 1000});
  TensorView to = ContiguousView(target.data(), DType::kInt64, {600, 1000});
  const bool from_device = GENERATE(true, false);
  (from_device ? from : to) = FakeDevice::OnDevice(from_device ? from : to);
  if (from_device) TurnOver(source);
  REQUIRE(CopyTensor(from, to, device).ok());
  if (!from_device) TurnOver(target);
  CHECK(device.copies() > 0);
  CHECK((target == std::vector<int64_t>(values.begin(), values.end())));
}

TEST_CASE("a copy that makes no sense is refused", "[tensor_copy]") {
  FakeDevice device;
  std::vector<int32_t> values = CountUp(6);
  const TensorView view = ContiguousView(values.data(), DType::kInt32, {2, 3});
  const Status sizes = CopyTensor(
      view, ContiguousView(values.data(), DType::kInt32, {3, 2}), device);
  CHECK(sizes.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(sizes)), Catch::Contains("[2, 3]"));
  const Status dtypes = CopyTensor(
      view, ContiguousView(values.data(), DType::kQInt32, {2, 3}), device);
  CHECK(dtypes.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(dtypes)), Catch::Contains("qint32"));
  const TensorView on_device = FakeDevice::OnDevice(Transposed(values, 2, 3));
  CHECK(CopyTensor(on_device, view, device).code() ==
        absl::StatusCode::kUnimplemented);
}

TEST_CASE("a copy of nothing touches nothing", "[tensor_copy]") {
  FakeDevice device;
  const TensorView nothing = ContiguousView(nullptr, DType::kInt32, {0, 3});
  CHECK(CopyTensor(nothing, nothing, device).ok());
}

}  // namespace
}  // namespace dcp
