#include "format/state_pickle.h"

#include <functional>
#include <map>
#include <utility>

#include "base/printable.h"
#include "format/memory_item_source.h"
#include "format/pickle_copier.h"
#include "format/pickle_reader.h"
#include "format/pickle_writer.h"
#include "format/torch_records.h"

namespace dcp {
namespace {

using enum PickleOp;

constexpr size_t kBatch = 1000;  // as CPython fills lists and dicts

class StatePickler {
 public:
  explicit StatePickler(std::span<const StateLeaf> leaves) : leaves_(leaves) {}

  StatusOr<StatePickle> Render(const NestedState& state) && {
    DCP_RETURN_IF_ERROR(Put(state));
    return StatePickle{.pickle = std::move(out_).Finish(),
                       .records = std::move(records_)};
  }

 private:
  Status Put(const NestedState& state) {
    switch (state.kind()) {
      case NestedState::Kind::kGap:
        out_.None();
        return absl::OkStatus();
      case NestedState::Kind::kLeaf:
        return PutLeaf(state.leaf());
      case NestedState::Kind::kDict:
        return PutDict(state);
      case NestedState::Kind::kList:
        return PutList(state);
    }
    return absl::OkStatus();
  }

  Status PutDict(const NestedState& state) {
    out_.Op(kEmptyDict);
    const auto& items = state.dict();
    for (size_t i = 0; i < items.size(); ++i) {
      if (i % kBatch == 0) BeginBatch(i, kSetItems);
      out_.String(items[i].first);
      DCP_RETURN_IF_ERROR(Put(*items[i].second));
    }
    if (!items.empty()) out_.Op(kSetItems);
    return absl::OkStatus();
  }

  Status PutList(const NestedState& state) {
    out_.Op(kEmptyList);
    const auto& items = state.list();
    for (size_t i = 0; i < items.size(); ++i) {
      if (i % kBatch == 0) BeginBatch(i, kAppends);
      DCP_RETURN_IF_ERROR(Put(*items[i]));
    }
    if (!items.empty()) out_.Op(kAppends);
    return absl::OkStatus();
  }

  void BeginBatch(size_t position, PickleOp end) {
    if (position > 0) out_.Op(end);
    out_.Op(kMark);
  }

  Status PutLeaf(size_t leaf) {
    const auto& value = leaves_[leaf].value;
    if (const auto* tensor = std::get_if<TensorItemSpec>(&value)) {
      PutTensor(*tensor, leaf);
      return absl::OkStatus();
    }
    return Annotate(PutObject(std::get<std::string_view>(value), leaf),
                    Printable(leaves_[leaf].fqn));
  }

  /// torch 2.13 _tensor.py Tensor._reduce_ex_internal, torch/_utils.py.
  void PutTensor(const TensorItemSpec& spec, size_t leaf) {
    const DTypeInfo& info = GetDTypeInfo(spec.dtype);
    const bool untyped = info.storage_class.empty();
    PutGlobal("torch._utils",
              untyped ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
    out_.Op(kMark);
    const int64_t numel = Numel(spec.sizes);
    out_.Op(kMark);
    out_.String("storage");
    if (untyped) {
      PutGlobal("torch.storage", "UntypedStorage");
    } else {
      PutGlobal("torch", info.storage_class);
    }
    out_.String(AddRecord({.leaf = leaf, .nbytes = numel * info.itemsize}));
    out_.String("cpu");
    out_.Int(untyped ? numel * info.itemsize : numel);
    out_.Ops({kTuple, kBinPersId});
    out_.Int(0);  // storage offset
    PutInts(spec.sizes);
    PutInts(ContiguousStrides(spec.sizes));
    out_.Bool(false);                         // requires_grad
    PutGlobal("collections", "OrderedDict");  // no hooks
    out_.Ops({kEmptyTuple, kReduce});
    if (untyped) PutGlobal("torch", info.name);
    out_.Ops({kTuple, kReduce});
  }

  void PutInts(const Dims& ints) {
    if (ints.size() > 3) out_.Op(kMark);
    for (const int64_t value : ints) out_.Int(value);
    out_.Tuple(ints.size());
  }

  void PutGlobal(std::string_view module, std::string_view name) {
    const auto known = globals_.find({module, name});
    if (known != globals_.end()) return out_.Get(known->second);
    out_.Global(module, name);
    globals_.emplace(std::pair(module, name), out_.Memoize());
  }

  /// The key of the record.
  std::string AddRecord(const StateRecord& record) {
    records_.push_back(record);
    return std::to_string(records_.size() - 1);
  }

  Status PutObject(std::string_view bytes, size_t leaf) {
    MemoryItemSource source(
        std::as_bytes(std::span(bytes.data(), bytes.size())));
    const auto length = static_cast<int64_t>(bytes.size());
    ItemReader reader(source, length);
    DCP_ASSIGN_OR_RETURN(const ZipDirectory directory,
                         ZipDirectory::Read(reader, length));
    DCP_ASSIGN_OR_RETURN(const TorchRecords archive,
                         TorchRecords::Open(reader, directory));
    DCP_ASSIGN_OR_RETURN(const std::string pickle,
                         archive.Read("data.pkl", length));
    DCP_ASSIGN_OR_RETURN(const bool is_big_endian, archive.IsBigEndian());
    if (is_big_endian) {
      return Unimplemented("it was saved on a big-endian machine");
    }
    DCP_ASSIGN_OR_RETURN(
        const PickleGraph graph,
        ReadPickle(pickle, {.persistent_ids = PersistentIds::kAccept,
                            .max_string_nbytes = pickle.size()}));
    std::map<std::string, std::string, std::less<>> keys;  // old ones: new ones
    const auto new_key = [&](std::string_view old) -> StatusOr<std::string> {
      if (const auto known = keys.find(old); known != keys.end()) {
        return known->second;
      }
      DCP_ASSIGN_OR_RETURN(const ZipEntry* entry,
                           archive.Find("data/" + std::string(old)));
      DCP_ASSIGN_OR_RETURN(const int64_t offset, FindZipData(reader, *entry));
      const auto data = bytes.substr(static_cast<size_t>(offset),
                                     static_cast<size_t>(entry->nbytes));
      std::string key =
          AddRecord({.leaf = leaf, .bytes = data, .nbytes = entry->nbytes});
      keys.emplace(old, key);
      return key;
    };
    return PickleCopier(graph, out_, new_key).Copy(graph.root());
  }

  const std::span<const StateLeaf> leaves_;
  std::vector<StateRecord> records_;
  std::map<std::pair<std::string_view, std::string_view>, PickleMemo> globals_;
  PickleWriter out_{PickleProtocol::k2, 4096};
};

}  // namespace

StatusOr<StatePickle> RenderStatePickle(const NestedState& state,
                                        std::span<const StateLeaf> leaves) {
  return StatePickler(leaves).Render(state);
}

}  // namespace dcp
