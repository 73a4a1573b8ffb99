#include "format/nested_state.h"

#include <cstdint>
#include <variant>

#include "base/printable.h"

namespace dcp {
namespace {

constexpr size_t kMaxDepth = 256;  // Python compares no much deeper dicts
/// Positions of a list beyond those that are there: values that were not saved
/// leave some out.
constexpr int64_t kMaxGap = int64_t{1} << 16;

}  // namespace

NestedState* NestedState::Child(const PathItem& part, Kind kind) {
  if (const auto* key = std::get_if<std::string>(&part)) {
    if (kind_ != Kind::kDict) return nullptr;
    const auto [found, is_new] = positions_.emplace(*key, dict_.size());
    if (is_new) {
      dict_.emplace_back(*key,
                         std::unique_ptr<NestedState>(new NestedState(kind)));
    }
    return dict_[found->second].second.get();
  }
  const int64_t index = std::get<int64_t>(part);
  const auto size = static_cast<int64_t>(list_.size());
  if (kind_ != Kind::kList || index < 0 || index > size + kMaxGap) {
    return nullptr;
  }
  while (static_cast<int64_t>(list_.size()) <= index) {
    list_.push_back(std::unique_ptr<NestedState>(new NestedState(Kind::kGap)));
  }
  NestedState* const item = list_[static_cast<size_t>(index)].get();
  if (item->kind_ == Kind::kGap) item->kind_ = kind;
  return item;
}

/// The place at `path`, a gap until now; null if there is none.
NestedState* NestedState::Descend(const ObjectPath& path) {
  NestedState* at = this;
  for (size_t i = 0; i < path.size(); ++i) {
    Kind wanted = Kind::kGap;
    if (i + 1 < path.size()) {
      wanted = std::holds_alternative<std::string>(path[i + 1]) ? Kind::kDict
                                                                : Kind::kList;
    }
    at = at->Child(path[i], wanted);
    if (at == nullptr) return nullptr;
    if (wanted != Kind::kGap && at->kind_ != wanted) return nullptr;
  }
  return at->kind_ == Kind::kGap ? at : nullptr;
}

Status NestedState::Add(const std::string& fqn, const ObjectPath& path,
                        size_t leaf) {
  NestedState* place = nullptr;
  if (!path.empty() && path.size() <= kMaxDepth) place = Descend(path);
  if (place == nullptr) place = Descend({fqn});
  if (place == nullptr) {
    return DataLoss("the state dict has no place for the key " +
                    Printable(fqn) +
                    ": its path is that of another value, or no path");
  }
  place->kind_ = Kind::kLeaf;
  place->leaf_ = leaf;
  return absl::OkStatus();
}

}  // namespace dcp
