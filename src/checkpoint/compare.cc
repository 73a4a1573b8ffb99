// 1. The metadata of both is read; keys and forms are compared.
// 2. Objects of both are read and compared.
// 3. What is a tensor of one form in both is read ahead by a thread for each
//    checkpoint, and compared step by step.

#include "dcp/compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "base/cast.h"
#include "base/guarded.h"
#include "checkpoint/opened_path.h"
#include "checkpoint/tensor_stream.h"
#include "dcp/checkpoint.h"
#include "storage/environment.h"

namespace dcp {
namespace {

StoredForm FormOf(const StorageMetadata& stored) {
  const auto* tensor = std::get_if<TensorStorageMetadata>(&stored);
  if (tensor == nullptr) return ObjectForm{};
  return TensorForm{.dtype = tensor->properties.dtype, .shape = tensor->size};
}

bool HasDistance(DType dtype) {
  const DTypeKind kind = GetDTypeInfo(dtype).kind;
  return kind == DTypeKind::kFloat || kind == DTypeKind::kInteger ||
         kind == DTypeKind::kBool;
}

/// Elements of one dtype, a pair after the other.
class ElementComparison {
 public:
  explicit ElementComparison(DType dtype)
      : dtype_(dtype), itemsize_(static_cast<size_t>(ItemSize(dtype))) {}

  /// `a` and `b` are whole elements, as many.
  void Compare(std::span<const std::byte> a, std::span<const std::byte> b) {
    if (std::memcmp(a.data(), b.data(), a.size()) == 0) return;
    for (size_t at = 0; at < a.size(); at += itemsize_) {
      if (std::memcmp(&a[at], &b[at], itemsize_) == 0) continue;
      ++elements_;
      if (HasDistance(dtype_)) Measure(&a[at], &b[at]);
    }
  }

  int64_t elements() const { return elements_; }
  std::optional<double> max_distance() const {
    return HasDistance(dtype_) ? std::optional(max_) : std::nullopt;
  }

 private:
  double ValueOf(const std::byte* element) const {
    double value = 0;
    CastElements(dtype_, element, DType::kFloat64,
                 reinterpret_cast<std::byte*>(&value), 1);
    return value;
  }

  void Measure(const std::byte* a, const std::byte* b) {
    const double x = ValueOf(a);
    const double y = ValueOf(b);
    const double distance = x == y ? 0 : std::abs(x - y);
    if (std::isnan(distance) || distance > max_) max_ = distance;
  }

  const DType dtype_;
  const size_t itemsize_;
  int64_t elements_ = 0;
  double max_ = 0;  // NaN stays: nothing is larger
};

/// Keys of one form in both, in the order of a.
struct InCommon {
  std::vector<std::string_view> tensors;
  std::vector<std::string_view> objects;
};

class Comparer {
 public:
  Comparer(OpenedPath& a, OpenedPath& b) : a_(a), b_(b) {}

  void CompareForms() {
    const Metadata& a = a_.index.metadata;
    const Metadata& b = b_.index.metadata;
    for (const auto& [fqn, stored] : a.entries()) {
      const StorageMetadata* other = b.Find(fqn);
      if (other == nullptr) {
        found_.only_in_a.push_back(fqn);
      } else {
        CompareForm(fqn, FormOf(stored), FormOf(*other));
      }
    }
    for (const auto& [fqn, stored] : b.entries()) {
      if (a.Find(fqn) == nullptr) found_.only_in_b.push_back(fqn);
    }
  }

  Status CompareValues() {
    DCP_RETURN_IF_ERROR(PrepareToRead(a_));
    DCP_RETURN_IF_ERROR(PrepareToRead(b_));
    TensorStream a(a_.index, *a_.reader, common_.tensors);
    TensorStream b(b_.index, *b_.reader, common_.tensors);
    DCP_RETURN_IF_ERROR(CompareObjects(a.pieces(), b.pieces()));
    DCP_RETURN_IF_ERROR(a.Start());
    DCP_RETURN_IF_ERROR(b.Start());
    for (size_t i = 0; i < common_.tensors.size(); ++i) {
      DCP_RETURN_IF_ERROR(a.IsEncoded(i) ? CompareEncoded(i, a, b)
                                         : CompareTensor(i, a, b));
    }
    SortValues();
    return absl::OkStatus();
  }

  CheckpointDifference Take() { return std::move(found_); }

 private:
  void CompareForm(const std::string& fqn, StoredForm a, StoredForm b) {
    ++found_.keys_in_common;
    const bool is_tensor = std::holds_alternative<TensorForm>(a);
    if (a == b) {
      (is_tensor ? common_.tensors : common_.objects).push_back(fqn);
      return;
    }
    found_.forms.push_back({.fqn = fqn, .a = std::move(a), .b = std::move(b)});
  }

  Status CompareObjects(PieceReader& a, PieceReader& b) {
    for (const std::string_view key : common_.objects) {
      DCP_ASSIGN_OR_RETURN(const auto in_a, a.ReadObjects({&key, 1}));
      DCP_ASSIGN_OR_RETURN(const auto in_b, b.ReadObjects({&key, 1}));
      if (!IsOneValue(in_a.at(0), in_b.at(0))) {
        found_.values.push_back({.fqn = std::string(key)});
      }
    }
    return absl::OkStatus();
  }

  static bool IsOneValue(const std::string& a, const std::string& b) {
    if (a == b) return true;
    const auto in_a = DecodeObject(a);
    const auto in_b = DecodeObject(b);
    return in_a.ok() && in_b.ok() && *in_a == *in_b;
  }

  /// What only torch can cut is compared chunk by chunk.
  Status CompareEncoded(size_t number, TensorStream& a, TensorStream& b) {
    const std::string fqn(common_.tensors[number]);
    const auto& chunks = a_.index.metadata.FindTensor(fqn)->chunks;
    if (chunks != b_.index.metadata.FindTensor(fqn)->chunks) {
      return Unimplemented("cannot compare the values of " + fqn +
                           ", a quantized tensor in other chunks; only torch "
                           "can decode it");
    }
    for (const Box& chunk : chunks) {
      const MetadataIndex index{.fqn = fqn, .offset = chunk.offsets};
      DCP_ASSIGN_OR_RETURN(const std::string in_a,
                           a.pieces().ReadEncoded(index, chunk.sizes));
      DCP_ASSIGN_OR_RETURN(const std::string in_b,
                           b.pieces().ReadEncoded(index, chunk.sizes));
      if (in_a == in_b) continue;
      found_.values.push_back({.fqn = fqn});
      break;
    }
    return absl::OkStatus();
  }

  Status CompareTensor(size_t number, TensorStream& a, TensorStream& b) {
    const std::string_view fqn = common_.tensors[number];
    const auto& tensor = *a_.index.metadata.FindTensor(fqn);
    const DType dtype = tensor.properties.dtype;
    const int64_t nbytes = Numel(tensor.size) * ItemSize(dtype);
    ElementComparison comparison(dtype);
    for (int64_t at = 0; at < nbytes; at += TensorStream::kStepNbytes) {
      const auto count =
          static_cast<size_t>(std::min(TensorStream::kStepNbytes, nbytes - at));
      const auto part_of_a = std::span(step_of_a_).first(count);
      const auto part_of_b = std::span(step_of_b_).first(count);
      DCP_RETURN_IF_ERROR(a.Read(number, at, part_of_a));
      DCP_RETURN_IF_ERROR(b.Read(number, at, part_of_b));
      comparison.Compare(part_of_a, part_of_b);
    }
    found_.nbytes_compared += nbytes;
    if (comparison.elements() > 0) {
      found_.values.push_back({.fqn = std::string(fqn),
                               .elements = comparison.elements(),
                               .max_distance = comparison.max_distance()});
    }
    return absl::OkStatus();
  }

  void SortValues() {
    const Metadata& a = a_.index.metadata;
    std::sort(found_.values.begin(), found_.values.end(),
              [&](const auto& x, const auto& y) {
                return a.Position(x.fqn) < a.Position(y.fqn);
              });
  }

  OpenedPath& a_;
  OpenedPath& b_;
  InCommon common_;
  CheckpointDifference found_;
  std::vector<std::byte> step_of_a_ =
      std::vector<std::byte>(TensorStream::kStepNbytes);
  std::vector<std::byte> step_of_b_ =
      std::vector<std::byte>(TensorStream::kStepNbytes);
};

}  // namespace

StatusOr<CheckpointDifference> Compare(const std::string& a,
                                       const std::string& b,
                                       const CompareOptions& options,
                                       StorageEnvironment environment) {
  return Guarded([&]() -> StatusOr<CheckpointDifference> {
    const StorageEnvironment seams = WithDefaults(std::move(environment));
    DCP_ASSIGN_OR_RETURN(const auto in_a, OpenToLook(a, options.io, seams));
    DCP_ASSIGN_OR_RETURN(const auto in_b, OpenToLook(b, options.io, seams));
    Comparer comparer(*in_a, *in_b);
    comparer.CompareForms();
    if (options.depth == CompareDepth::kValues) {
      DCP_RETURN_IF_ERROR(comparer.CompareValues());
    }
    return comparer.Take();
  });
}

}  // namespace dcp
