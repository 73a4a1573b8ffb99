#include "format/pickle_copier.h"

#include <algorithm>
#include <string>

namespace dcp {
namespace {

using enum PickleOp;

constexpr int kMaxDepth = 256;
constexpr size_t kBatch = 1000;  // as CPython fills lists and dicts

}  // namespace

void PutPickledBytes(std::string_view bytes, PickleWriter* out) {
  std::string text;
  text.reserve(bytes.size());
  for (const char character : bytes) {
    const auto byte = static_cast<uint8_t>(character);
    if (byte < 0x80) {
      text += character;
    } else {
      text += static_cast<char>(0xc0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3f));
    }
  }
  out->Global("_codecs", "encode");
  out->String(text);
  out->String("latin1");
  out->Ops({kTuple2, kReduce});
}

Status PickleCopier::CopyAt(PickleId id, int depth) {
  if (depth > kMaxDepth) {
    return DataLoss("an object is nested too deeply, or contains itself");
  }
  if (const auto known = memo_.find(id); known != memo_.end()) {
    out_.Get(known->second);
    return absl::OkStatus();
  }
  const PickleNode& node = graph_[id];
  switch (node.kind) {
    case PickleKind::kNone:
      out_.None();
      return absl::OkStatus();
    case PickleKind::kBool:
      out_.Bool(node.integer != 0);
      return absl::OkStatus();
    case PickleKind::kInt:
      out_.Int(node.integer);
      return absl::OkStatus();
    case PickleKind::kFloat:
      out_.Float(node.real);
      return absl::OkStatus();
    case PickleKind::kString:
      out_.String(graph_.text(id));
      Memoize(id);
      return absl::OkStatus();
    case PickleKind::kBytes:
      return CopyBytes(id);
    case PickleKind::kTuple:
      return CopyTuple(id, depth);
    case PickleKind::kList:
      return CopyList(id, depth);
    case PickleKind::kDict:
      return CopyDict(id, depth);
    case PickleKind::kGlobal:
      return CopyGlobal(id);
    case PickleKind::kReduce:
    case PickleKind::kObject:
      return CopyCall(id, depth);
    case PickleKind::kPersistentId:
      return CopyStorage(id, depth);
    case PickleKind::kBigInt:
    case PickleKind::kSet:
      break;
  }
  return Unimplemented("an object is or holds " + DescribePickle(graph_, id) +
                       ", which only Python can copy");
}

Status PickleCopier::CopyBytes(PickleId id) {
  PutPickledBytes(graph_.text(id), &out_);
  Memoize(id);
  return absl::OkStatus();
}

Status PickleCopier::CopyTuple(PickleId id, int depth) {
  const auto items = graph_.items(id);
  if (items.size() > 3) out_.Op(kMark);
  for (const PickleId item : items) {
    DCP_RETURN_IF_ERROR(CopyAt(item, depth + 1));
  }
  out_.Tuple(static_cast<int>(std::min<size_t>(items.size(), 4)));
  if (!items.empty()) Memoize(id);
  return absl::OkStatus();
}

Status PickleCopier::CopyList(PickleId id, int depth) {
  out_.Op(kEmptyList);
  Memoize(id);
  return CopyItems(graph_.items(id), kBatch, kAppends, depth);
}

Status PickleCopier::CopyDict(PickleId id, int depth) {
  if (graph_[id].global == PickleGlobal::kOrderedDict) {
    out_.Global("collections", "OrderedDict");
    out_.Ops({kEmptyTuple, kReduce});
  } else {
    out_.Op(kEmptyDict);
  }
  Memoize(id);
  return CopyItems(graph_.items(id), 2 * kBatch, kSetItems, depth);
}

Status PickleCopier::CopyItems(std::span<const PickleId> items, size_t batch,
                               PickleOp end, int depth) {
  while (!items.empty()) {
    const auto some = items.first(std::min(batch, items.size()));
    out_.Op(kMark);
    for (const PickleId item : some) {
      DCP_RETURN_IF_ERROR(CopyAt(item, depth + 1));
    }
    out_.Op(end);
    items = items.subspan(some.size());
  }
  return absl::OkStatus();
}

Status PickleCopier::CopyGlobal(PickleId id) {
  const PickleNode& node = graph_[id];
  const std::string_view module = graph_.text(node.b);
  const std::string_view name = graph_.text(node.c);
  // Protocol 4 takes any string there.
  if (module.find('\n') != module.npos || name.find('\n') != name.npos) {
    return DataLoss("the name of a class has a line break in it");
  }
  out_.Global(module, name);
  Memoize(id);
  return absl::OkStatus();
}

Status PickleCopier::CopyCall(PickleId id, int depth) {
  DCP_RETURN_IF_ERROR(CopyAt(graph_.callable(id), depth + 1));
  DCP_RETURN_IF_ERROR(CopyAt(graph_.arguments(id), depth + 1));
  out_.Op(graph_.kind(id) == PickleKind::kReduce ? kReduce : kNewObj);
  Memoize(id);
  if (graph_.state(id) == kNoPickleId) return absl::OkStatus();
  DCP_RETURN_IF_ERROR(CopyAt(graph_.state(id), depth + 1));
  out_.Op(kBuild);
  return absl::OkStatus();
}

/// ("storage", class, key, location, size)
Status PickleCopier::CopyStorage(PickleId id, int depth) {
  const PickleId tuple = graph_.persistent_id(id);
  if (graph_.kind(tuple) != PickleKind::kTuple ||
      graph_.items(tuple).size() != 5 ||
      graph_.kind(graph_.items(tuple)[2]) != PickleKind::kString) {
    return DataLoss("the persistent id of a storage is malformed");
  }
  const auto parts = graph_.items(tuple);
  DCP_ASSIGN_OR_RETURN(const std::string key,
                       new_storage_key_(graph_.text(parts[2])));
  out_.Op(kMark);
  for (size_t part = 0; part < parts.size(); ++part) {
    if (part == 2) {
      out_.String(key);
    } else {
      DCP_RETURN_IF_ERROR(CopyAt(parts[part], depth + 1));
    }
  }
  out_.Ops({kTuple, kBinPersId});
  return absl::OkStatus();
}

}  // namespace dcp
