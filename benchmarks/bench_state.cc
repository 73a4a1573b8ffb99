#include "bench_state.h"

#include <algorithm>
#include <bit>

namespace dcp::benchmarks {
namespace {

constexpr int64_t kMaxWidth = 2048;
constexpr int64_t kMinWidth = 16;

/// A weight of one layer: rows and columns in quarters of the width.
struct Shape {
  const char* name;
  int64_t rows;
  int64_t columns;
};
constexpr Shape kLayer[] = {
    {"attention.wq.weight", 4, 4},     {"attention.wk.weight", 1, 4},
    {"attention.wv.weight", 1, 4},     {"attention.wo.weight", 4, 4},
    {"feed_forward.w1.weight", 11, 4}, {"feed_forward.w2.weight", 4, 11},
    {"feed_forward.w3.weight", 11, 4},
};
constexpr const char* kCopies[] = {"model", "optim.exp_avg",
                                   "optim.exp_avg_sq"};

int64_t LayerNbytes(int64_t width) {
  int64_t elements = width;  // the norm's weight
  for (const Shape& shape : kLayer) {
    elements += shape.rows * shape.columns * width * width / 16;
  }
  return elements * int64_t{sizeof(float)} * int64_t{std::size(kCopies)};
}

}  // namespace

BenchState::BenchState(int64_t nbytes) {
  int64_t width = kMaxWidth;
  while (width > kMinWidth && LayerNbytes(width) > nbytes) width /= 2;
  for (int64_t layer = 0; nbytes_ < nbytes; ++layer) AddLayer(layer, width);
}

void BenchState::AddLayer(int64_t layer, int64_t width) {
  const auto add = [&](const std::string& name, const Dims& sizes) {
    for (const char* copy : kCopies) {
      tensors_.push_back(
          {.fqn = std::string(copy) + ".layers." + std::to_string(layer) + "." +
                  name,
           .sizes = sizes,
           .values = std::vector<float>(static_cast<size_t>(Numel(sizes)))});
      nbytes_ += Numel(sizes) * int64_t{sizeof(float)};
    }
  };
  for (const Shape& shape : kLayer) {
    add(shape.name, {shape.rows * width / 4, shape.columns * width / 4});
  }
  add("attention_norm.weight", {width});
}

void BenchState::Fill() {
  uint32_t random = 1;  // xorshift32, Marsaglia 2003
  for (Tensor& tensor : tensors_) {
    for (float& value : tensor.values) {
      random ^= random << 13;
      random ^= random >> 17;
      random ^= random << 5;
      // Numbers between 1 and 2: no NaN, which would differ from itself.
      value = std::bit_cast<float>(0x3f800000U | random >> 9);
    }
  }
}

void BenchState::Poison() {
  for (Tensor& tensor : tensors_) {
    std::fill(tensor.values.begin(), tensor.values.end(), -1.0F);
  }
}

bool BenchState::operator==(const BenchState& other) const {
  return std::equal(tensors_.begin(), tensors_.end(), other.tensors_.begin(),
                    other.tensors_.end(), [](const Tensor& a, const Tensor& b) {
                      return a.fqn == b.fqn && a.values == b.values;
                    });
}

TensorView BenchState::ViewOf(Tensor& tensor) {
  return ContiguousView(tensor.values.data(), DType::kFloat32, tensor.sizes);
}

std::vector<SaveEntry> BenchState::SaveEntries() {
  std::vector<SaveEntry> entries;
  entries.reserve(tensors_.size());
  for (Tensor& tensor : tensors_) {
    entries.push_back(TensorEntry(tensor.fqn, ViewOf(tensor)));
  }
  return entries;
}

std::vector<LoadEntry> BenchState::LoadEntries() {
  std::vector<LoadEntry> entries;
  entries.reserve(tensors_.size());
  for (Tensor& tensor : tensors_) {
    entries.push_back(TensorLoad(tensor.fqn, ViewOf(tensor)));
  }
  return entries;
}

}  // namespace dcp::benchmarks
