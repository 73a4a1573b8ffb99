#include "format/tensor_pickle.h"

#include <utility>

#include "format/pickle_decoder.h"
#include "format/pickle_reader.h"
#include "format/pickle_writer.h"

namespace dcp {
namespace {

using enum PickleOp;

/// A tuple of ints; torch memoizes all but the empty one.
void PutInts(const Dims& ints, PickleWriter* out) {
  if (ints.size() > 3) out->Op(kMark);
  for (int64_t value : ints) out->Int(value);
  out->Tuple(ints.size());
  if (!ints.empty()) out->Memoize();
}

/// The persistent id of the storage: ("storage", class, key, location, count).
void PutStorage(const DTypeInfo& info, int64_t numel, PickleWriter* out) {
  out->Op(kMark);
  out->String("storage");
  out->Memoize();
  if (info.storage_class.empty()) {
    out->Global("torch.storage", "UntypedStorage");
  } else {
    out->Global("torch", info.storage_class);
  }
  out->Memoize();
  out->String("0");
  out->Memoize();
  out->String("cpu");
  out->Memoize();
  out->Int(info.storage_class.empty() ? numel * info.itemsize : numel);
  out->Op(kTuple);
  out->Memoize();
  out->Op(kBinPersId);
}

}  // namespace

std::string RenderTensorPickle(const TensorItemSpec& spec) {
  // torch 2.13 _tensor.py Tensor._reduce_ex_internal, torch/_utils.py.
  constexpr size_t kTypicalNbytes = 320;
  const DTypeInfo& info = GetDTypeInfo(spec.dtype);
  const bool untyped = info.storage_class.empty();
  PickleWriter out(PickleProtocol::k2, kTypicalNbytes);
  out.Global("torch._utils",
             untyped ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
  out.Memoize();
  out.Op(kMark);
  PutStorage(info, Numel(spec.sizes), &out);
  out.Int(0);  // storage offset
  PutInts(spec.sizes, &out);
  PutInts(ContiguousStrides(spec.sizes), &out);
  out.Bool(false);                           // requires_grad
  out.Global("collections", "OrderedDict");  // no hooks
  out.Memoize();
  out.Ops({kEmptyTuple, kReduce});
  out.Memoize();
  if (untyped) {
    out.Global("torch", info.name);
    out.Memoize();
  }
  out.Op(kTuple);
  out.Memoize();
  out.Op(kReduce);
  out.Memoize();
  return std::move(out).Finish();
}

}  // namespace dcp
