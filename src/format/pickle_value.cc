#include "format/pickle_value.h"

#include "base/printable.h"

namespace dcp {

std::string_view PickleKindName(PickleKind kind) {
  switch (kind) {
    case PickleKind::kNone:
      return "None";
    case PickleKind::kBool:
      return "a bool";
    case PickleKind::kInt:
      return "an int";
    case PickleKind::kBigInt:
      return "an int beyond 64 bits";
    case PickleKind::kFloat:
      return "a float";
    case PickleKind::kString:
      return "a str";
    case PickleKind::kBytes:
      return "bytes";
    case PickleKind::kTuple:
      return "a tuple";
    case PickleKind::kList:
      return "a list";
    case PickleKind::kDict:
      return "a dict";
    case PickleKind::kSet:
      return "a set";
    case PickleKind::kGlobal:
      return "the global";
    case PickleKind::kReduce:
      return "a call of";
    case PickleKind::kObject:
      return "an object of";
    case PickleKind::kPersistentId:
      return "a persistent id";
  }
  return "an unknown value";
}

std::string PickleGraph::GlobalName(PickleId id) const {
  const PickleNode& node = nodes_[id];
  return Printable(text(node.b)) + "." + Printable(text(node.c));
}

std::string DescribePickle(const PickleGraph& graph, PickleId id) {
  const PickleKind kind = graph.kind(id);
  std::string text(PickleKindName(kind));
  if (kind == PickleKind::kGlobal) text += " " + graph.GlobalName(id);
  if (kind == PickleKind::kReduce || kind == PickleKind::kObject) {
    text += " " + graph.GlobalName(graph.callable(id));
  }
  return text;
}

}  // namespace dcp
