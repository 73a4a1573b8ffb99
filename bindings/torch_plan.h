// Plans of torch's protocol, as tuples from Python, carried out by libdcp.

#ifndef DCP_BINDINGS_TORCH_PLAN_H_
#define DCP_BINDINGS_TORCH_PLAN_H_

#include <pybind11/pybind11.h>

#include "dcp/storage.h"
#include "storage/filesystem_writer.h"

namespace dcp {

/// Writes a torch plan: ([(relative_path, offset, length, transforms), ...] in
/// the order of `items`, notes for publish()). `resolve(position)` gives the
/// fields of a view, or bytes.
pybind11::tuple WriteTorchPlan(FileSystemWriter& writer,
                               const pybind11::list& items,
                               const pybind11::function& resolve);

/// Opens the files of a torch plan.
void OpenTorchPlan(StorageReader& reader, const pybind11::list& items);

/// Reads a torch plan into the views; returns (position, bytes) of objects and
/// of tensors that only torch can decode.
pybind11::list ReadTorchPlan(StorageReader& reader,
                             const pybind11::list& items);

}  // namespace dcp

#endif  // DCP_BINDINGS_TORCH_PLAN_H_
