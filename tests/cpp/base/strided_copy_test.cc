#include "base/strided_copy.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "base/cast.h"
#include "base/tensor_cases.h"

namespace dcp {
namespace {

using Bytes = std::vector<std::byte>;
using enum DType;

Bytes RandomBytes(Random* random, size_t nbytes) {
  Bytes data(nbytes);
  for (std::byte& b : data) b = std::byte(random->Between(0, 255));
  return data;
}

/// A value of `dtype` with the signs flipped that `op` flips.
Bytes Applied(ElementOp op, DType dtype, Bytes element) {
  const size_t size = element.size();
  const bool is_complex = GetDTypeInfo(dtype).kind == DTypeKind::kComplex;
  if (op == ElementOp::kNone) return element;
  element[size - 1] ^= std::byte{0x80};
  if (op == ElementOp::kNeg && is_complex) {
    element[size / 2 - 1] ^= std::byte{0x80};
  }
  return element;
}

Bytes CastOne(DType from, const Bytes& element, DType to) {
  Bytes result(static_cast<size_t>(ItemSize(to)));
  CastElements(from, element.data(), to, result.data(), 1);
  return result;
}

Bytes ReadElement(const OwnedTensor& tensor, const Dims& index) {
  const std::byte* at = tensor.ElementAt(index);
  return Bytes(at, at + ItemSize(tensor.view.dtype));
}

/// The whole image of `tensor`, element by element.
Bytes ImageByElement(const OwnedTensor& tensor, DType image_dtype) {
  Bytes image;
  const TensorView& view = tensor.view;
  for (int64_t element = 0; element < view.numel(); ++element) {
    const Bytes stored =
        ReadElement(tensor, IndexOfElement(element, view.sizes));
    const Bytes value =
        CastOne(view.dtype, Applied(view.op, view.dtype, stored), image_dtype);
    image.insert(image.end(), value.begin(), value.end());
  }
  return image;
}

/// Cuts [0, nbytes) at random multiples of `unit`.
std::vector<ByteRun> RandomCuts(Random* random, int64_t nbytes, int64_t unit) {
  std::vector<ByteRun> ranges;
  for (int64_t at = 0; at < nbytes;) {
    const int64_t left = (nbytes - at) / unit;
    const int64_t most = random->OneIn(3) ? left : (left + 2) / 3;
    const int64_t n = unit * random->Between(random->OneIn(9) ? 0 : 1, most);
    ranges.push_back({.byte_begin = at, .nbytes = n});
    at += n;
  }
  return ranges;
}

Dims FewElements(Random* random, int max_ndim, int64_t max_size) {
  for (;;) {
    const Dims sizes = random->Sizes(max_ndim, max_size);
    if (Numel(sizes) <= 5'000) return sizes;
  }
}

void CheckGather(Random* random, const OwnedTensor& tensor, DType to) {
  const Bytes expected = ImageByElement(tensor, to);
  Bytes actual(expected.size());
  const int64_t unit = to == tensor.view.dtype ? 1 : ItemSize(to);
  for (const ByteRun& run :
       RandomCuts(random, static_cast<int64_t>(expected.size()), unit)) {
    GatherRange(
        tensor.view, to, run.byte_begin,
        {actual.data() + run.byte_begin, static_cast<size_t>(run.nbytes)});
  }
  INFO(ToString(tensor.view.sizes) << ToString(tensor.view.strides));
  REQUIRE(actual == expected);
}

TEST_CASE("any range of a strided tensor's image is gathered", "[strided]") {
  Random random(1);
  for (int trial = 0; trial < 2000; ++trial) {
    const DType dtype =
        random.Pick({kInt8, kBFloat16, kFloat32, kFloat64, kComplex128});
    const Dims sizes = FewElements(&random, 6, random.OneIn(4) ? 40 : 5);
    CheckGather(&random,
                random.Strided(dtype, sizes, Random::Overlap::kAllowed), dtype);
  }
}

TEST_CASE("gathering casts on the way", "[strided]") {
  Random random(2);
  for (int trial = 0; trial < 2000; ++trial) {
    const DType from = random.Pick({kInt64, kFloat32, kComplex64, kFloat16});
    const DType to = random.Pick({kBFloat16, kFloat32, kFloat64, kUInt8});
    const Dims sizes = FewElements(&random, 4, random.OneIn(4) ? 70 : 6);
    CheckGather(&random, random.Strided(from, sizes, Random::Overlap::kAllowed),
                to);
  }
}

TEST_CASE("gathering applies conjugation and negation", "[strided]") {
  Random random(8);
  for (int trial = 0; trial < 2000; ++trial) {
    const DType from = random.Pick({kComplex64, kComplex128, kFloat16});
    const DType to =
        random.OneIn(2) ? from : random.Pick({kComplex64, kFloat32});
    const Dims sizes = FewElements(&random, 4, random.OneIn(4) ? 70 : 6);
    OwnedTensor tensor = random.Strided(from, sizes, Random::Overlap::kAllowed);
    const bool is_complex = GetDTypeInfo(from).kind == DTypeKind::kComplex;
    tensor.view.op =
        is_complex && random.OneIn(2) ? ElementOp::kConj : ElementOp::kNeg;
    CheckGather(&random, tensor, to);
  }
}

struct ScatterCase {
  ChunkImage image;
  Box part;
  ElementOp op = ElementOp::kNone;
};

/// Scatters the whole image, element by element.
void ScatterByElement(const ScatterCase& c, const Bytes& image,
                      const OwnedTensor& dest) {
  const auto itemsize = ItemSize(c.image.dtype);
  for (int64_t i = 0; i < Numel(c.image.sizes); ++i) {
    Dims index = IndexOfElement(i, c.image.sizes);
    if (!Contains(c.part, index)) continue;
    for (int d = 0; d < index.size(); ++d) index[d] -= c.part.offsets[d];
    const auto at = image.begin() + i * itemsize;
    const Bytes value = CastOne(
        c.image.dtype, Applied(c.op, c.image.dtype, Bytes(at, at + itemsize)),
        dest.view.dtype);
    std::memcpy(dest.ElementAt(index), value.data(), value.size());
  }
}

void CheckScatter(Random* random, const ScatterCase& c, DType to) {
  const Bytes image =
      RandomBytes(random, static_cast<size_t>(c.image.nbytes()));
  OwnedTensor dest =
      random->Strided(to, c.part.sizes, Random::Overlap::kForbidden);
  const Bytes before = dest.memory;
  ScatterByElement(c, image, dest);
  const Bytes expected = dest.memory;
  std::copy(before.begin(), before.end(), dest.memory.begin());

  const int64_t unit = to == c.image.dtype ? 1 : ItemSize(c.image.dtype);
  std::vector<ByteRun> ranges = RandomCuts(random, c.image.nbytes(), unit);
  std::shuffle(ranges.begin(), ranges.end(), random->engine);
  for (const ByteRun& run : ranges) {
    ScatterRange(
        c.image, c.part, dest.view, run.byte_begin,
        {image.data() + run.byte_begin, static_cast<size_t>(run.nbytes)}, c.op);
  }
  INFO(ToString(c.image.sizes)
       << ToString(c.part) << ToString(dest.view.strides));
  REQUIRE(dest.memory == expected);
}

TEST_CASE("any range of an image is scattered, and nothing beside it",
          "[strided]") {
  Random random(3);
  for (int trial = 0; trial < 2000; ++trial) {
    const Dims sizes = FewElements(&random, 6, random.OneIn(4) ? 40 : 5);
    const DType dtype =
        random.Pick({kInt8, kBFloat16, kFloat32, kFloat64, kComplex128});
    CheckScatter(&random,
                 {.image = {.dtype = dtype, .sizes = sizes},
                  .part = random.PartOf(sizes)},
                 dtype);
  }
}

TEST_CASE("scattering casts and applies conjugation and negation",
          "[strided]") {
  Random random(4);
  for (int trial = 0; trial < 2000; ++trial) {
    const Dims sizes = FewElements(&random, 4, random.OneIn(4) ? 70 : 6);
    const DType from =
        random.Pick({kComplex32, kComplex64, kComplex128, kFloat32, kBFloat16});
    ElementOp op =
        random.Pick({ElementOp::kNone, ElementOp::kConj, ElementOp::kNeg});
    if (!SupportsElementOp(op, from)) op = ElementOp::kNeg;
    CheckScatter(
        &random,
        {.image = {.dtype = from, .sizes = sizes},
         .part = random.PartOf(sizes),
         .op = op},
        random.OneIn(2) ? from : random.Pick({kFloat64, kComplex64, kInt32}));
  }
}

TEST_CASE("element operations are for types that have signs", "[strided]") {
  CHECK(SupportsElementOp(ElementOp::kNone, kUInt8));
  CHECK(SupportsElementOp(ElementOp::kConj, kComplex32));
  CHECK_FALSE(SupportsElementOp(ElementOp::kConj, kFloat32));
  CHECK(SupportsElementOp(ElementOp::kNeg, kComplex128));
  CHECK(SupportsElementOp(ElementOp::kNeg, kBFloat16));
  CHECK_FALSE(SupportsElementOp(ElementOp::kNeg, kInt32));
  CHECK_FALSE(SupportsElementOp(ElementOp::kNeg, kFloat8E5M2));
}

TEST_CASE("transposed matrices of every element size are copied", "[strided]") {
  Random random(6);
  for (DType dtype : {kInt8, kBFloat16, kFloat32, kFloat64, kComplex128}) {
    // Sides beyond one block of 256, and not multiples of anything.
    for (const Dims& sizes : {Dims{64, 64}, Dims{37, 301}, Dims{301, 37}}) {
      OwnedTensor tensor =
          random.Strided(dtype, sizes, Random::Overlap::kForbidden);
      tensor.memory =
          RandomBytes(&random, static_cast<size_t>(tensor.view.nbytes()));
      tensor.view.data = tensor.memory.data();
      tensor.view.strides = {1, sizes[0]};
      CheckGather(&random, tensor, dtype);
      CheckGather(&random, tensor, kFloat32);
    }
  }
}

TEST_CASE("tensors of 64 dimensions are copied", "[strided]") {
  Random random(5);
  Dims sizes = Dims::Filled(Dims::kMaxDims, 1);
  for (int d : {0, 7, 31, 62, 63}) sizes[d] = 3;
  const OwnedTensor tensor =
      random.Strided(kInt16, sizes, Random::Overlap::kForbidden);
  Bytes image(static_cast<size_t>(tensor.view.nbytes()));
  GatherRange(tensor.view, kInt16, 0, image);
  CHECK(image == ImageByElement(tensor, kInt16));
}

}  // namespace
}  // namespace dcp
