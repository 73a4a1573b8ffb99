// Meshes and placements on the wire (base/wire.h).

#ifndef DCP_PLAN_MESH_WIRE_H_
#define DCP_PLAN_MESH_WIRE_H_

#include <cstdint>

#include "base/wire.h"
#include "dcp/device_mesh.h"

namespace dcp {

// Each Get reads what the Put of its name wrote; of anything malformed it fails
// `in` and returns some value.

/// dims sizes, then runs of ranks until there are enough: first rank, signed
/// step, count; each as long as it can be.
void PutMesh(const DeviceMesh& mesh, WireWriter* out);
/// Adds the mesh's ranks to `total`, which is bounded by 2^24: what a message
/// of a few bytes may expand to.
DeviceMesh GetMesh(WireReader* in, uint64_t* total);

/// u8 kind; of shards the dimension, of strided ones the split factor.
void PutPlacement(const Placement& placement, WireWriter* out);
Placement GetPlacement(WireReader* in);

}  // namespace dcp

#endif  // DCP_PLAN_MESH_WIRE_H_
