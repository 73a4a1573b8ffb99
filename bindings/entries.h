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

/// (address, dtype, sizes, strides, device, stream) from position `first` of a
/// tuple on.
TensorView ViewFrom(const pybind11::tuple& entry, size_t first);

/// A save entry; see python/dcpcpp/_tensors.py. Bytes in it must outlive it.
SaveEntry SaveEntryFrom(const pybind11::tuple& entry);

/// A load entry: (fqn,) for an object, else as in python/dcpcpp/_tensors.py.
LoadEntry LoadEntryFrom(const pybind11::tuple& entry);
std::vector<LoadEntry> LoadEntriesFrom(const pybind11::list& entries);

/// {"objects": [...], "missing": [...], ...}
pybind11::dict ToDict(const LoadResult& result);

}  // namespace dcp

#endif  // DCP_BINDINGS_ENTRIES_H_
