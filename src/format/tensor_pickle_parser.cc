// ParseTensorPickle: the tensor-only subset of torch.load.

#include <optional>
#include <span>
#include <string>
#include <utility>

#include "format/pickle_decoder.h"
#include "format/pickle_reader.h"
#include "format/tensor_pickle.h"

namespace dcp {
namespace {

constexpr size_t kMaxTensorPickleNbytes = size_t{1} << 20;

/// Parses one data.pkl. Methods return false after a failure that the decoder
/// keeps, or when the object turns out to need torch.
class TensorPickleParser {
 public:
  TensorPickleParser(const PickleGraph& graph, ExpandedTensors expanded)
      : decoder_(graph), graph_(graph), expanded_(expanded) {}

  StatusOr<TensorPickle> Parse(PickleId id) {
    if (!ParseValue(id) && !tensor_.needs_torch) {
      return Annotate(decoder_.status(), "data.pkl");
    }
    if (tensor_.needs_torch) return TensorPickle{.needs_torch = true};
    return std::move(tensor_);
  }

 private:
  bool NeedsTorch() {
    tensor_.needs_torch = true;
    return false;
  }

  /// A tensor, or a Parameter around one.
  bool ParseValue(PickleId id) {
    using enum PickleGlobal;
    if (graph_.kind(id) != PickleKind::kReduce) return NeedsTorch();
    const PickleGlobal function = graph_.callable_global(id);
    const auto arguments = graph_.items(graph_.arguments(id));
    if (function == kRebuildParameter ||
        function == kRebuildParameterWithState) {
      // (data, requires_grad, hooks[, state]) around a plain tensor only.
      if (arguments.size() < 3 || wrapped_) return NeedsTorch();
      wrapped_ = true;
      tensor_.requires_grad = IsTrue(arguments[1]);
      return ParseValue(arguments[0]);
    }
    if (graph_.state(id) != kNoPickleId) return NeedsTorch();
    // torch/_utils.py: _rebuild_tensor(storage, offset, size, stride),
    // _v2(.., requires_grad, hooks[, metadata]),
    // _v3(.., requires_grad, hooks, dtype[, metadata]).
    switch (function) {
      case kRebuildTensor:
        return ParseTensor(arguments, {.fixed_count = 4});
      case kRebuildTensorV2:
        return ParseTensor(arguments, {.fixed_count = 6});
      case kRebuildTensorV3:
        return ParseTensor(arguments, {.fixed_count = 7, .has_dtype = true});
      default:
        return NeedsTorch();
    }
  }

  struct Signature {
    size_t fixed_count = 0;
    bool has_dtype = false;
  };

  bool ParseTensor(std::span<const PickleId> arguments,
                   const Signature& signature) {
    const size_t count = signature.fixed_count;
    const size_t flag_count = count > 4 ? 1 : 0;
    if (arguments.size() < count || arguments.size() > count + flag_count) {
      return decoder_.Fail("a tensor is rebuilt from " +
                           std::to_string(arguments.size()) + " arguments");
    }
    if (count > 4) tensor_.requires_grad |= IsTrue(arguments[4]);
    // An OrderedDict of hooks: they are Python functions.
    if (count > 4 && !IsEmptyDict(arguments[5])) return NeedsTorch();
    if (signature.has_dtype && !ParseDType(arguments[6])) return false;
    if (arguments.size() > count && !ParseFlags(arguments[count])) {
      return false;
    }
    return ParseStorage(arguments[0], signature.has_dtype) &&
           decoder_.Int(arguments[1], "storage_offset",
                        &tensor_.storage_offset) &&
           decoder_.Ints(arguments[2], "size", &tensor_.sizes) &&
           decoder_.Ints(arguments[3], "stride", &tensor_.strides) &&
           CheckGeometry();
  }

  bool IsTrue(PickleId id) const {
    return graph_.kind(id) == PickleKind::kBool && graph_[id].integer != 0;
  }

  bool IsEmptyDict(PickleId id) const {
    if (graph_.is_none(id)) return true;
    return graph_.kind(id) == PickleKind::kDict && graph_.items(id).empty();
  }

  bool ParseDType(PickleId id) {
    const PickleNode& node = graph_[id];
    if (node.kind != PickleKind::kGlobal) {
      return decoder_.Mismatch(id, "dtype", "a torch.dtype");
    }
    if (node.global != PickleGlobal::kDType) return NeedsTorch();
    tensor_.dtype = node.dtype;
    return true;
  }

  /// {"conj": True, "neg": True}; other keys are Python attributes.
  bool ParseFlags(PickleId id) {
    if (graph_.is_none(id)) return true;
    std::span<const PickleId> items;
    if (!decoder_.Dict(id, "tensor metadata", &items)) return false;
    for (size_t i = 0; i < items.size(); i += 2) {
      std::string_view name;
      if (!decoder_.String(items[i], "a flag's name", &name)) return false;
      if (name != "conj" && name != "neg") return NeedsTorch();
      bool* flag = name == "conj" ? &tensor_.conj : &tensor_.neg;
      if (!decoder_.Bool(items[i + 1], name, flag)) return false;
    }
    return true;
  }

  /// The persistent id ("storage", class, key, location, count).
  bool ParseStorage(PickleId id, bool untyped) {
    if (graph_.kind(id) != PickleKind::kPersistentId) {
      return decoder_.Mismatch(id, "the storage", "a persistent id");
    }
    std::span<const PickleId> parts;
    if (!decoder_.Sequence(graph_.persistent_id(id), "the storage", &parts)) {
      return false;
    }
    std::string_view word;
    std::string_view key;
    int64_t count = 0;
    if (parts.size() != 5 || !decoder_.String(parts[0], "its kind", &word) ||
        word != "storage" || !decoder_.String(parts[2], "its key", &key) ||
        !decoder_.Int(parts[4], "its size", &count) || count < 0) {
      return decoder_.Fail("the storage's persistent id is malformed");
    }
    const PickleNode& type = graph_[parts[1]];
    if (type.kind != PickleKind::kGlobal) {
      return decoder_.Mismatch(parts[1], "the storage's class", "a class");
    }
    const PickleGlobal wanted =
        untyped ? PickleGlobal::kUntypedStorage : PickleGlobal::kStorageClass;
    if (type.global != wanted) return NeedsTorch();
    if (!untyped) tensor_.dtype = type.dtype;
    if (GetDTypeInfo(tensor_.dtype).kind == DTypeKind::kQuantized) {
      return NeedsTorch();
    }
    tensor_.storage_key = key;
    const int64_t itemsize = untyped ? 1 : ItemSize(tensor_.dtype);
    return !__builtin_mul_overflow(count, itemsize, &tensor_.storage_nbytes) ||
           decoder_.Fail("the storage is impossibly large");
  }

  /// Whether every element lies within the storage.
  bool CheckGeometry() {
    const std::optional<int64_t> numel = CheckedNumel(tensor_.sizes);
    if (!numel || tensor_.strides.size() != tensor_.sizes.size() ||
        tensor_.storage_offset < 0) {
      return decoder_.Fail("size, stride or storage offset are impossible");
    }
    int64_t last = tensor_.storage_offset;
    bool overflow = false;
    for (int d = 0; d < tensor_.sizes.size(); ++d) {
      int64_t reach = 0;
      overflow |= tensor_.strides[d] < 0;
      overflow |= __builtin_mul_overflow(tensor_.sizes[d] - 1,
                                         tensor_.strides[d], &reach);
      if (*numel > 0) overflow |= __builtin_add_overflow(last, reach, &last);
    }
    const int64_t itemsize = ItemSize(tensor_.dtype);
    int64_t dense_nbytes = 0;
    overflow |= __builtin_mul_overflow(*numel, itemsize, &dense_nbytes);
    int64_t end_nbytes = 0;
    if (*numel > 0) {
      overflow |= __builtin_add_overflow(last, 1, &end_nbytes) ||
                  __builtin_mul_overflow(end_nbytes, itemsize, &end_nbytes);
    }
    if (!overflow && end_nbytes <= tensor_.storage_nbytes &&
        (dense_nbytes <= tensor_.storage_nbytes ||
         expanded_ == ExpandedTensors::kAccept)) {
      return true;
    }
    return decoder_.Fail("sizes " + ToString(tensor_.sizes) + ", strides " +
                         ToString(tensor_.strides) + " and offset " +
                         std::to_string(tensor_.storage_offset) +
                         " reach out of a storage of " +
                         std::to_string(tensor_.storage_nbytes) + " bytes");
  }

  PickleDecoder decoder_;
  const PickleGraph& graph_;
  const ExpandedTensors expanded_;
  TensorPickle tensor_;
  bool wrapped_ = false;
};

}  // namespace

StatusOr<TensorPickle> ParseTensorPickle(std::string_view pickle) {
  DCP_ASSIGN_OR_RETURN(
      const PickleGraph graph,
      ReadPickle(pickle, {.persistent_ids = PersistentIds::kAccept,
                          .max_nbytes = kMaxTensorPickleNbytes}));
  return ParseTensorValue(graph, graph.root(), ExpandedTensors::kReject);
}

StatusOr<TensorPickle> ParseTensorValue(const PickleGraph& graph, PickleId id,
                                        ExpandedTensors expanded) {
  return TensorPickleParser(graph, expanded).Parse(id);
}

bool IsTensorValue(const PickleGraph& graph, PickleId id) {
  using enum PickleGlobal;
  if (graph.kind(id) != PickleKind::kReduce) return false;
  switch (graph.callable_global(id)) {
    case kRebuildTensor:
    case kRebuildTensorV2:
    case kRebuildTensorV3:
    case kRebuildParameter:
    case kRebuildParameterWithState:
      return true;
    case kForeign:
      break;
    default:
      return false;
  }
  // _rebuild_qtensor, _rebuild_sparse_tensor, _rebuild_from_type_v2, ...
  const std::string name = graph.GlobalName(graph.callable(id));
  return name.starts_with("torch._utils._rebuild_") ||
         name.starts_with("torch._tensor._rebuild_");
}

}  // namespace dcp
