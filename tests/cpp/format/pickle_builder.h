// Writes pickles value by value, for tests.

#ifndef DCP_TESTS_FORMAT_PICKLE_BUILDER_H_
#define DCP_TESTS_FORMAT_PICKLE_BUILDER_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "format/pickle_writer.h"

namespace dcp {

/// Appends one value.
using Write = std::function<void(PickleWriter*)>;

inline void Attributes(
    PickleWriter* out,
    const std::vector<std::pair<std::string, Write>>& attributes) {
  out->Op(PickleOp::kEmptyDict);
  for (const auto& [name, write] : attributes) {
    out->String(name);
    write(out);
    out->Op(PickleOp::kSetItem);
  }
}

inline Write Object(const std::string& module, const std::string& name,
                    std::vector<std::pair<std::string, Write>> attributes) {
  return [=](PickleWriter* out) {
    out->Global(module, name);
    out->Ops({PickleOp::kEmptyTuple, PickleOp::kNewObj});
    Attributes(out, attributes);
    out->Op(PickleOp::kBuild);
  };
}

inline Write Call(const std::string& module, const std::string& name,
                  Write args) {
  return [=](PickleWriter* out) {
    out->Global(module, name);
    args(out);
    out->Op(PickleOp::kReduce);
  };
}

inline Write Tuple(std::vector<Write> items) {
  return [=](PickleWriter* out) {
    out->Op(PickleOp::kMark);
    for (const Write& item : items) item(out);
    out->Op(PickleOp::kTuple);
  };
}

inline Write Str(const std::string& text) {
  return [=](PickleWriter* out) { out->String(text); };
}
inline Write Int(int64_t value) {
  return [=](PickleWriter* out) { out->Int(value); };
}
inline Write Global(const std::string& module, const std::string& name) {
  return [=](PickleWriter* out) { out->Global(module, name); };
}
inline const Write kNoValue = [](PickleWriter* out) { out->None(); };
inline const Write kNo = [](PickleWriter* out) { out->Bool(false); };

inline Write Size(std::vector<int64_t> sizes) {
  std::vector<Write> items;
  for (int64_t size : sizes) items.push_back(Int(size));
  return Call("torch", "Size", Tuple({Tuple(items)}));
}

inline Write Dict(std::vector<std::pair<Write, Write>> items) {
  return [=](PickleWriter* out) {
    out->Op(PickleOp::kEmptyDict);
    for (const auto& [key, value] : items) {
      key(out);
      value(out);
      out->Op(PickleOp::kSetItem);
    }
  };
}

inline Write List(std::vector<Write> items) {
  return [=](PickleWriter* out) {
    out->Op(PickleOp::kEmptyList);
    for (const Write& item : items) {
      item(out);
      out->Op(PickleOp::kAppend);
    }
  };
}

/// The pickle of one value.
inline std::string PickleOf(PickleProtocol protocol, const Write& value) {
  PickleWriter out(protocol, 0);
  value(&out);
  return std::move(out).Finish();
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_PICKLE_BUILDER_H_
