// DecodeObjectItem.

#include <optional>
#include <span>
#include <unordered_set>
#include <utility>

#include "format/memory_item_source.h"
#include "format/object_item.h"
#include "format/pickle_reader.h"
#include "format/torch_records.h"

namespace dcp {
namespace {

/// Turns the graph of an object into a tree. Shared values are copied, so the
/// tree's size is bounded: a few hundred bytes can describe a tree that no
/// memory holds.
class ObjectDecoder {
 public:
  explicit ObjectDecoder(const PickleGraph& graph)
      : graph_(graph), budget_(graph.size() * kTreeFactor + kTreeBase) {}

  StatusOr<ObjectValue> Decode(PickleId id, int depth) {
    if (depth > kMaxObjectDepth) {
      return DataLoss("the object is nested too deeply, or contains itself");
    }
    DCP_RETURN_IF_ERROR(Spend(1));
    switch (graph_.kind(id)) {
      case PickleKind::kNone:
        return ObjectValue{ObjectNone{}};
      case PickleKind::kBool:
        return ObjectValue{graph_[id].integer != 0};
      case PickleKind::kInt:
        return ObjectValue{graph_[id].integer};
      case PickleKind::kFloat:
        return ObjectValue{graph_[id].real};
      case PickleKind::kString:
        return DecodeText(id);
      case PickleKind::kBytes:
        DCP_RETURN_IF_ERROR(SpendText(id));
        return ObjectValue{ObjectBytes{std::string(graph_.text(id))}};
      case PickleKind::kList:
        return DecodeItems<ObjectList>(id, depth);
      case PickleKind::kTuple:
        return DecodeItems<ObjectTuple>(id, depth);
      case PickleKind::kDict:
        return DecodeDict(id, depth);
      case PickleKind::kReduce:
        return DecodeCall(id, depth);
      default:
        return NotRepresentable(id);
    }
  }

 private:
  static constexpr size_t kTreeFactor = 4;
  static constexpr size_t kTreeBase = 10000;
  static constexpr size_t kTextNbytesPerUnit = 64;

  Status NotRepresentable(PickleId id) const {
    return Unimplemented("the object is or holds " +
                         DescribePickle(graph_, id) +
                         ", which only Python can load");
  }

  Status Spend(size_t units) {
    if (units > budget_) {
      return DataLoss("the object's values share too much to be copied");
    }
    budget_ -= units;
    return absl::OkStatus();
  }

  Status SpendText(PickleId id) {
    // The first copy of a text is paid for by its bytes in the pickle.
    if (copied_.insert(id).second) return absl::OkStatus();
    return Spend(graph_.text(id).size() / kTextNbytesPerUnit);
  }

  StatusOr<ObjectValue> DecodeText(PickleId id) {
    DCP_RETURN_IF_ERROR(SpendText(id));
    return ObjectValue{std::string(graph_.text(id))};
  }

  template <typename Sequence>
  StatusOr<ObjectValue> DecodeItems(PickleId id, int depth) {
    Sequence sequence;
    for (PickleId item : graph_.items(id)) {
      DCP_ASSIGN_OR_RETURN(ObjectValue value, Decode(item, depth + 1));
      sequence.items.push_back(std::move(value));
    }
    return ObjectValue{std::move(sequence)};
  }

  StatusOr<ObjectValue> DecodeDict(PickleId id, int depth) {
    ObjectDict dict;
    std::unordered_set<std::string_view> keys;
    const auto items = graph_.items(id);
    for (size_t i = 0; i < items.size(); i += 2) {
      if (graph_.kind(items[i]) != PickleKind::kString) {
        return Unimplemented("the object has a dict with a key that is " +
                             DescribePickle(graph_, items[i]) +
                             ", which only Python can load");
      }
      const std::string_view key = graph_.text(items[i]);
      if (!keys.insert(key).second) {
        return DataLoss("the object has a dict with the key \"" +
                        std::string(key) + "\" twice");
      }
      DCP_RETURN_IF_ERROR(SpendText(items[i]));
      DCP_ASSIGN_OR_RETURN(ObjectValue value, Decode(items[i + 1], depth + 1));
      dict.items.push_back({std::string(key), std::move(value)});
    }
    return ObjectValue{std::move(dict)};
  }

  /// The few calls that stand for plain values.
  StatusOr<ObjectValue> DecodeCall(PickleId id, int depth) {
    const auto arguments = graph_.items(graph_.arguments(id));
    switch (graph_.callable_global(id)) {
      case PickleGlobal::kSize:
        if (arguments.size() == 1 &&
            graph_.kind(arguments[0]) == PickleKind::kTuple) {
          return Decode(arguments[0], depth);
        }
        break;
      case PickleGlobal::kBytesClass:
        if (arguments.empty()) return ObjectValue{ObjectBytes{}};
        break;
      case PickleGlobal::kCodecsEncode:
        if (auto bytes = EncodedBytes(arguments)) {
          DCP_RETURN_IF_ERROR(SpendText(arguments[0]));
          return ObjectValue{ObjectBytes{*std::move(bytes)}};
        }
        break;
      default:
        break;
    }
    return NotRepresentable(id);
  }

  /// _codecs.encode(text, "latin1"): protocol 2's bytes.
  std::optional<std::string> EncodedBytes(
      std::span<const PickleId> arguments) const {
    if (arguments.size() != 2 ||
        graph_.kind(arguments[0]) != PickleKind::kString ||
        graph_.kind(arguments[1]) != PickleKind::kString ||
        graph_.text(arguments[1]) != "latin1") {
      return std::nullopt;
    }
    // Valid UTF-8; only characters below 256, in one or two bytes, may occur.
    const std::string_view text = graph_.text(arguments[0]);
    std::string bytes;
    for (size_t i = 0; i < text.size(); ++i) {
      const auto lead = static_cast<uint8_t>(text[i]);
      if (lead < 0x80) {
        bytes += text[i];
      } else if (lead <= 0xc3) {
        const auto next = static_cast<uint8_t>(text[++i]);
        bytes += static_cast<char>((lead << 6) | (next & 0x3f));
      } else {
        return std::nullopt;
      }
    }
    return bytes;
  }

  const PickleGraph& graph_;
  size_t budget_;
  std::unordered_set<PickleId> copied_;
};

}  // namespace

StatusOr<ObjectValue> DecodeObjectItem(std::string_view item) {
  MemoryItemSource source(std::as_bytes(std::span(item.data(), item.size())));
  const auto length = static_cast<int64_t>(item.size());
  ItemReader reader(source, length);
  DCP_ASSIGN_OR_RETURN(const ZipDirectory directory,
                       ZipDirectory::Read(reader, length));
  DCP_ASSIGN_OR_RETURN(const TorchRecords records,
                       TorchRecords::Open(reader, directory));
  DCP_ASSIGN_OR_RETURN(const std::string pickle,
                       records.Read("data.pkl", length));
  DCP_ASSIGN_OR_RETURN(
      const PickleGraph graph,
      ReadPickle(pickle, {.persistent_ids = PersistentIds::kAccept,
                          .max_string_nbytes = pickle.size()}));
  return ObjectDecoder(graph).Decode(graph.root(), 0);
}

}  // namespace dcp
