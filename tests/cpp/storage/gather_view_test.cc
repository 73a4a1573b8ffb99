#include "storage/gather_view.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "base/strided_copy.h"
#include "base/tensor_cases.h"
#include "testing/fake_device.h"

namespace dcp {
namespace {

using testing::FakeDevice;

/// The same tensor on a device; `memory` holds it.
TensorView OnDevice(const OwnedTensor& tensor, std::vector<std::byte>* memory) {
  *memory = tensor.memory;
  for (std::byte& byte : *memory) byte = ~byte;
  TensorView view = tensor.view;
  const auto* data = static_cast<const std::byte*>(view.data);
  view.data = memory->data() + (data - tensor.memory.data());
  return FakeDevice::OnDevice(view);
}

/// Compares a range of the image with that of the host's tensor.
void CheckRange(const OwnedTensor& tensor, DType dtype, int64_t begin,
                int64_t nbytes) {
  std::vector<std::byte> memory;
  const TensorView view = OnDevice(tensor, &memory);
  FakeDevice device;
  std::vector<std::byte> expected(static_cast<size_t>(nbytes));
  std::vector<std::byte> found(expected.size());
  GatherRange(tensor.view, dtype, begin, expected);
  REQUIRE(GatherView(view, dtype, begin, device, found).ok());
  CHECK(found == expected);
}

TEST_CASE("a range of a tensor of any strides comes from a device",
          "[storage][device]") {
  Random random(61);
  for (int round = 0; round < 400; ++round) {
    const DType dtype =
        random.Pick({DType::kFloat32, DType::kBFloat16, DType::kUInt8});
    const OwnedTensor tensor =
        random.Strided(dtype, random.Sizes(4, 9), Random::Overlap::kForbidden);
    const bool casts = dtype == DType::kBFloat16 && random.OneIn(2);
    const DType stored = casts ? DType::kFloat32 : dtype;
    const int64_t unit = casts ? ItemSize(stored) : 1;
    const int64_t units = tensor.view.numel() * ItemSize(stored) / unit;
    const int64_t begin = random.Between(0, units);
    CAPTURE(round, ToString(tensor.view.sizes), ToString(tensor.view.strides));
    CheckRange(tensor, stored, begin * unit,
               random.Between(0, units - begin) * unit);
  }
}

TEST_CASE("elements that lie far apart come in several copies",
          "[storage][device]") {
  // A row of the transposed matrix reaches over 40 MB.
  OwnedTensor tensor;
  tensor.memory.resize(40'000'000);
  for (size_t i = 0; i < tensor.memory.size(); i += 4000) {
    std::memcpy(&tensor.memory[i], &i, sizeof(i));
  }
  tensor.view =
      ContiguousView(tensor.memory.data(), DType::kFloat32, Dims{10'000, 1000});
  tensor.view.sizes = {1000, 10'000};
  tensor.view.strides = {1, 1000};
  CheckRange(tensor, DType::kFloat32, 6, 80'001);
}

}  // namespace
}  // namespace dcp
