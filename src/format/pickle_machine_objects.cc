// Globals, calls and instances of PickleMachine. All of them stay symbolic.

#include "base/printable.h"
#include "format/pickle_machine.h"
#include "format/utf8.h"

namespace dcp {
namespace {

constexpr size_t kMaxGlobalNbytes = 1024;

/// Whether instances have no attributes in Python.
bool HasNoState(PickleGlobal callable) {
  switch (callable) {
    case PickleGlobal::kSize:
    case PickleGlobal::kGetLayout:
    case PickleGlobal::kMemFormatEncoding:
    case PickleGlobal::kGetattr:
    case PickleGlobal::kPosixPath:
    case PickleGlobal::kWindowsPath:
      return true;
    default:
      return false;
  }
}

}  // namespace

/// A string node for the bytes up to the next newline.
bool PickleMachine::ReadLine(PickleId* line) {
  const size_t start = position_;
  const size_t newline = data_.substr(start, kMaxGlobalNbytes + 1).find('\n');
  if (newline == data_.npos) return Fail("the name does not end");
  if (newline == 0) return Fail("a global needs two short strings");
  position_ = start + newline + 1;
  if (!IsValidUtf8(data_.substr(start, newline))) {
    return Fail("the name is not UTF-8");
  }
  if (!Charge(sizeof(PickleNode))) return false;
  *line = AddNode({.kind = PickleKind::kString,
                   .a = static_cast<uint32_t>(newline),
                   .integer = static_cast<int64_t>(start)});
  return true;
}

bool PickleMachine::PushGlobal(PickleId module, PickleId name) {
  const GlobalId id = FindPickleGlobal(graph_.text(module), graph_.text(name));
  PickleNode node{
      .kind = PickleKind::kGlobal, .global = id.global, .dtype = id.dtype};
  node.b = module;
  node.c = name;
  if (id.global != PickleGlobal::kForbidden) return PushNode(node);
  return Fail(Printable(graph_.text(module)) + "." +
              Printable(graph_.text(name)) +
              " has no place in a checkpoint; the file may be an attack");
}

bool PickleMachine::OnGlobal() {
  PickleId module = kNoneId;
  PickleId name = kNoneId;
  return ReadLine(&module) && ReadLine(&name) && PushGlobal(module, name);
}

bool PickleMachine::OnStackGlobal() {
  if (!Need(2)) return false;
  const PickleId name = Pop();
  const PickleId module = Pop();
  if (graph_.kind(module) != PickleKind::kString ||
      graph_.kind(name) != PickleKind::kString ||
      graph_.text(module).size() > kMaxGlobalNbytes ||
      graph_.text(name).size() > kMaxGlobalNbytes) {
    return Fail("a global needs two short strings");
  }
  return PushGlobal(module, name);
}

bool PickleMachine::PushCall(PickleKind kind) {
  if (!Need(2)) return false;
  const PickleId arguments = Pop();
  const PickleId callable = Pop();
  if (graph_.kind(callable) != PickleKind::kGlobal) {
    return Fail("the callable is not a global");
  }
  if (graph_[callable].global == PickleGlobal::kDType ||
      graph_[callable].global == PickleGlobal::kUnknownDType) {
    return Fail("the callable is not a function or class");
  }
  if (graph_.kind(arguments) != PickleKind::kTuple) {
    return Fail("the arguments are not a tuple");
  }
  PickleNode node{.kind = kind, .a = callable};
  node.b = arguments;
  node.c = kNoPickleId;
  return PushNode(node);
}

bool PickleMachine::OnReduce() {
  if (!PushCall(PickleKind::kReduce)) return false;
  const PickleId call = top();
  if (graph_.callable_global(call) == PickleGlobal::kSize) {
    for (const PickleId item : graph_.items(graph_.arguments(call))) Seal(item);
  }
  if (graph_.callable_global(call) != PickleGlobal::kOrderedDict ||
      !graph_.items(graph_.arguments(call)).empty()) {
    return true;
  }
  // OrderedDict() is an empty dict: SETITEMS fills it.
  Pop();
  return PushNode(
      {.kind = PickleKind::kDict, .global = PickleGlobal::kOrderedDict});
}

bool PickleMachine::OnNewObj() { return PushCall(PickleKind::kObject); }

bool PickleMachine::OnBuild() {
  if (!Need(2)) return false;
  const PickleId state = Pop();
  PickleNode& object = graph_.nodes_[top()];
  // An OrderedDict may carry attributes (a module's `_metadata`): dropped.
  if (object.kind == PickleKind::kDict &&
      object.global == PickleGlobal::kOrderedDict) {
    return true;
  }
  if (object.kind != PickleKind::kReduce &&
      object.kind != PickleKind::kObject) {
    return Fail("only an object can be given a state");
  }
  if (object.c != kNoPickleId) return Fail("the object has a state already");
  if (HasNoState(graph_.callable_global(top()))) {
    return Fail("only an object can be given a state");
  }
  object.c = state;
  Seal(state);
  return true;
}

/// For a container that Python copies here: what is put into it later would not
/// be part of the copy, but is part of the graph.
void PickleMachine::Seal(PickleId id) {
  if (graph_.kind(id) == PickleKind::kDict ||
      graph_.kind(id) == PickleKind::kList) {
    graph_.nodes_[id].sealed = 1;
  }
}

bool PickleMachine::OnBinPersId() {
  if (options_.persistent_ids == PersistentIds::kReject) {
    return Fail("this opcode is not allowed");
  }
  if (!Need(1)) return false;
  const PickleId id = Pop();
  return PushNode({.kind = PickleKind::kPersistentId, .a = id});
}

}  // namespace dcp
