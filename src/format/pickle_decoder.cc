#include "format/pickle_decoder.h"

#include <array>

namespace dcp {

bool PickleDecoder::Fail(std::string_view message, absl::StatusCode code) {
  if (status_.ok()) status_ = MakeStatus(code, message);
  return false;
}

bool PickleDecoder::Mismatch(PickleId id, std::string_view what,
                             std::string_view expected) {
  return Fail(std::string(what) + " is " + DescribePickle(graph_, id) +
              ", not " + std::string(expected));
}

bool PickleDecoder::String(PickleId id, std::string_view what,
                           std::string_view* value) {
  if (graph_.kind(id) != PickleKind::kString) {
    return Mismatch(id, what, "a str");
  }
  *value = graph_.text(id);
  return true;
}

bool PickleDecoder::Int(PickleId id, std::string_view what, int64_t* value) {
  if (graph_.kind(id) != PickleKind::kInt) {
    return Mismatch(id, what, "an int of 64 bits");
  }
  *value = graph_[id].integer;
  return true;
}

bool PickleDecoder::Bool(PickleId id, std::string_view what, bool* value) {
  if (graph_.kind(id) != PickleKind::kBool) return Mismatch(id, what, "a bool");
  *value = graph_[id].integer != 0;
  return true;
}

bool PickleDecoder::Ints(PickleId id, std::string_view what, Dims* value) {
  if (graph_.Is(id, PickleKind::kReduce, PickleGlobal::kSize)) {
    const auto arguments = graph_.items(graph_.arguments(id));
    if (arguments.size() != 1) {
      return Fail(std::string(what) + ": torch.Size takes one argument");
    }
    id = arguments[0];
  }
  std::span<const PickleId> items;
  if (!Sequence(id, what, &items)) return false;
  if (items.size() > Dims::kMaxDims) {
    return Fail(std::string(what) + " has " + std::to_string(items.size()) +
                " dimensions; torch allows 64");
  }
  std::array<int64_t, Dims::kMaxDims> ints;
  for (size_t d = 0; d < items.size(); ++d) {
    if (!Int(items[d], what, &ints[d])) return false;
  }
  *value = Dims(std::span<const int64_t>(ints.data(), items.size()));
  return true;
}

bool PickleDecoder::Sequence(PickleId id, std::string_view what,
                             std::span<const PickleId>* items) {
  const PickleKind kind = graph_.kind(id);
  if (kind != PickleKind::kTuple && kind != PickleKind::kList) {
    return Mismatch(id, what, "a sequence");
  }
  *items = graph_.items(id);
  return true;
}

bool PickleDecoder::Dict(PickleId id, std::string_view what,
                         std::span<const PickleId>* items) {
  if (graph_.kind(id) != PickleKind::kDict) return Mismatch(id, what, "a dict");
  *items = graph_.items(id);
  return true;
}

bool PickleDecoder::Attributes(PickleId id, PickleGlobal type,
                               std::string_view what,
                               std::span<const PickleId>* items) {
  if (!graph_.Is(id, PickleKind::kObject, type)) {
    return Mismatch(id, what, "an object of torch's class for it");
  }
  *items = {};
  const PickleId state = graph_.state(id);
  return state == kNoPickleId || Dict(state, what, items);
}

}  // namespace dcp
