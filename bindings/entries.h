// Entries: tuples of Python (python/dcpcpp/_tensors.py) as libdcp's types.

#ifndef DCP_BINDINGS_ENTRIES_H_
#define DCP_BINDINGS_ENTRIES_H_

#include <pybind11/pybind11.h>

#include <vector>

#include "dcp/checkpoint.h"
#include "dcp/storage.h"

namespace dcp {

/// A tuple or torch.Size of integers.
Dims DimsFrom(pybind11::handle value);
pybind11::tuple ToTuple(const Dims& dims);

/// (address, dtype, sizes, strides, device, stream, op) from position `first`
/// of a tuple on.
TensorView ViewFrom(const pybind11::tuple& entry, size_t first);

/// What a save is given: tuples as in python/dcpcpp/_tensors.py, read one by
/// one, because 100,000 of them would take as much memory as the tensors' plan.
struct SaveEntries {
  explicit SaveEntries(const pybind11::iterable& tuples);

  std::vector<SaveEntry> entries;
  pybind11::list kept;  ///< bytes that entries refer to
};

/// What a load fills: (fqn,) for an object, else as in
/// python/dcpcpp/_tensors.py.
struct LoadEntries {
  explicit LoadEntries(const pybind11::iterable& tuples);

  std::vector<LoadEntry> entries;
};

/// {"objects": [...], "missing": [...], ...}. Takes the objects' bytes over,
/// one after the other, so that they are there once.
pybind11::dict ToDict(LoadResult&& result);

}  // namespace dcp

#endif  // DCP_BINDINGS_ENTRIES_H_
