#include "format/flat_state.h"

#include <optional>
#include <span>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/printable.h"
#include "format/tensor_pickle.h"

namespace dcp {
namespace {

constexpr int kMaxDepth = 256;

class Flattener {
 public:
  explicit Flattener(const PickleGraph& graph)
      : graph_(graph), budget_(4 * graph.size() + 10'000) {}

  StatusOr<std::vector<FlatLeaf>> Flatten() && {
    const auto items = MappingItems(graph_.root());
    if (!items) {
      return InvalidArgument("the file holds " +
                             DescribePickle(graph_, graph_.root()) +
                             ", not a dict");
    }
    DCP_RETURN_IF_ERROR(VisitMapping(*items, "", 0));
    return std::move(leaves_);
  }

 private:
  /// Keys and values in turn, if `id` is a mapping.
  std::optional<std::span<const PickleId>> MappingItems(PickleId id) const {
    if (graph_.kind(id) == PickleKind::kDict) return graph_.items(id);
    // Counter({..}): the state of some learning rate schedulers.
    if (graph_.kind(id) != PickleKind::kReduce) return std::nullopt;
    const auto arguments = graph_.items(graph_.arguments(id));
    if (arguments.size() == 1 &&
        graph_.kind(arguments[0]) == PickleKind::kDict &&
        graph_.GlobalName(graph_.callable(id)) == "collections.Counter") {
      return graph_.items(arguments[0]);
    }
    return std::nullopt;
  }

  Status VisitMapping(std::span<const PickleId> items,
                      const std::string& prefix, int depth) {
    for (size_t i = 0; i < items.size(); i += 2) {
      DCP_ASSIGN_OR_RETURN(const std::string key, KeyOf(items[i], prefix));
      path_.emplace_back(key);
      DCP_RETURN_IF_ERROR(Visit(items[i + 1], Joined(prefix, key), depth + 1));
      path_.pop_back();
    }
    return absl::OkStatus();
  }

  Status Visit(PickleId id, const std::string& name, int depth) {
    if (depth > kMaxDepth || budget_-- == 0) {
      return DataLoss(
          "the state dict is nested too deeply, contains itself, "
          "or shares values too often, at " +
          Printable(name));
    }
    if (const auto items = MappingItems(id)) {
      return VisitMapping(*items, name, depth);
    }
    if (graph_.kind(id) != PickleKind::kList || IsLeafList(id, 0)) {
      return AddLeaf(id, name);
    }
    const auto items = graph_.items(id);
    for (size_t i = 0; i < items.size(); ++i) {
      path_.emplace_back(static_cast<int64_t>(i));
      DCP_RETURN_IF_ERROR(
          Visit(items[i], Joined(name, std::to_string(i)), depth + 1));
      path_.pop_back();
    }
    return absl::OkStatus();
  }

  bool IsLeafList(PickleId id, int depth) const {
    for (const PickleId item : graph_.items(id)) {
      if (IsTensorValue(graph_, item) || MappingItems(item)) return false;
      if (graph_.kind(item) == PickleKind::kList && depth < kMaxDepth &&
          !IsLeafList(item, depth + 1)) {
        return false;
      }
    }
    return true;
  }

  Status AddLeaf(PickleId id, const std::string& name) {
    if (!names_.insert(name).second) {
      // torch 2.13 _nested_dict.py
      return InvalidArgument("duplicated flatten key " + name);
    }
    leaves_.push_back({.fqn = name, .path = path_, .value = id});
    return absl::OkStatus();
  }

  /// str(key)
  StatusOr<std::string> KeyOf(PickleId id, const std::string& prefix) const {
    switch (graph_.kind(id)) {
      case PickleKind::kString:
        return std::string(graph_.text(id));
      case PickleKind::kInt:
        return std::to_string(graph_[id].integer);
      case PickleKind::kBool:
        return std::string(graph_[id].integer != 0 ? "True" : "False");
      case PickleKind::kNone:
        return std::string("None");
      default:
        return Unimplemented("a dict at \"" + Printable(prefix) +
                             "\" has a key that is " +
                             DescribePickle(graph_, id) +
                             ", which only Python can turn into a string");
    }
  }

  static std::string Joined(const std::string& prefix, const std::string& key) {
    return prefix.empty() ? key : prefix + "." + key;
  }

  const PickleGraph& graph_;
  size_t budget_;
  ObjectPath path_;
  std::unordered_set<std::string> names_;
  std::vector<FlatLeaf> leaves_;
};

}  // namespace

StatusOr<std::vector<FlatLeaf>> FlattenState(const PickleGraph& graph) {
  return Flattener(graph).Flatten();
}

}  // namespace dcp
