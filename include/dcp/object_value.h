// ObjectValue: a plain Python object, for C++ users of checkpoints.
//
// What a state dict holds beside tensors (a step, a learning rate, a list of
// names) is stored as a pickled object. This is the subset that C++ can read
// and write; it maps one to one to Python values.

#ifndef DCP_OBJECT_VALUE_H_
#define DCP_OBJECT_VALUE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dcp {

struct ObjectValue;
struct ObjectDictItem;

/// Python's None.
struct ObjectNone {
  bool operator==(const ObjectNone&) const = default;
};

/// Python's bytes; a std::string is a str and holds UTF-8.
struct ObjectBytes {
  std::string data;
  bool operator==(const ObjectBytes&) const = default;
};

struct ObjectList {
  std::vector<ObjectValue> items;
  bool operator==(const ObjectList&) const;
};

struct ObjectTuple {
  std::vector<ObjectValue> items;
  bool operator==(const ObjectTuple&) const;
};

/// A dict with str keys, in insertion order. Keys are unique.
struct ObjectDict {
  std::vector<ObjectDictItem> items;
  /// nullptr if there is no such key. Linear.
  const ObjectValue* Find(std::string_view key) const;
  bool operator==(const ObjectDict&) const;
};

/// Regular value type.
struct ObjectValue {
  std::variant<ObjectNone, bool, int64_t, double, std::string, ObjectBytes,
               ObjectList, ObjectTuple, ObjectDict>
      value;
  bool operator==(const ObjectValue&) const = default;
};

struct ObjectDictItem {
  std::string key;
  ObjectValue value;
  bool operator==(const ObjectDictItem&) const = default;
};

inline bool ObjectList::operator==(const ObjectList& other) const {
  return items == other.items;
}

inline bool ObjectTuple::operator==(const ObjectTuple& other) const {
  return items == other.items;
}

inline bool ObjectDict::operator==(const ObjectDict& other) const {
  return items == other.items;
}

inline const ObjectValue* ObjectDict::Find(std::string_view key) const {
  for (const ObjectDictItem& item : items) {
    if (item.key == key) return &item.value;
  }
  return nullptr;
}

}  // namespace dcp

#endif  // DCP_OBJECT_VALUE_H_
