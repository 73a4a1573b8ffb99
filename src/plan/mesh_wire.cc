#include "plan/mesh_wire.h"

#include <optional>
#include <vector>

namespace dcp {
namespace {

constexpr uint64_t kMaxRanks = uint64_t{1} << 24;

void PutRanks(const std::vector<uint32_t>& ranks, WireWriter* out) {
  for (size_t i = 0; i < ranks.size();) {
    const auto step_at = [&](size_t at) {
      return int64_t{ranks[at]} - int64_t{ranks[at - 1]};
    };
    size_t end = i + 1;
    const int64_t step = end < ranks.size() ? step_at(end) : 0;
    while (end < ranks.size() && step_at(end) == step) ++end;
    out->PutVarint(ranks[i]);
    out->PutSigned(step);
    out->PutVarint(end - i);
    i = end;
  }
}

}  // namespace

void PutMesh(const DeviceMesh& mesh, WireWriter* out) {
  out->PutDims(mesh.sizes);
  PutRanks(mesh.ranks, out);
}

DeviceMesh GetMesh(WireReader* in, uint64_t* total) {
  DeviceMesh mesh{.sizes = in->GetDims()};
  const auto wanted = CheckedNumel(mesh.sizes);
  if (!wanted || static_cast<uint64_t>(*wanted) > kMaxRanks - *total) {
    in->Fail();
    return {};
  }
  *total += static_cast<uint64_t>(*wanted);
  while (in->ok() && mesh.ranks.size() < static_cast<size_t>(*wanted)) {
    const uint64_t first = in->Varint();
    const int64_t step = in->Signed();
    const uint64_t count = in->Varint();
    const uint64_t left = static_cast<uint64_t>(*wanted) - mesh.ranks.size();
    constexpr int64_t kMostStep = UINT32_MAX;
    if (count == 0 || count > left || first > UINT32_MAX || step > kMostStep ||
        step < -kMostStep) {
      in->Fail();
      break;
    }
    const int64_t last =
        static_cast<int64_t>(first) + step * static_cast<int64_t>(count - 1);
    if (last < 0 || last > int64_t{UINT32_MAX}) in->Fail();
    if (!in->ok()) break;
    for (uint64_t i = 0; i < count; ++i) {
      mesh.ranks.push_back(static_cast<uint32_t>(
          static_cast<int64_t>(first) + step * static_cast<int64_t>(i)));
    }
  }
  return mesh;
}

void PutPlacement(const Placement& placement, WireWriter* out) {
  out->PutU8(static_cast<uint8_t>(placement.kind));
  if (placement.kind == Placement::Kind::kReplicate) return;
  out->PutSigned(placement.dim);
  if (placement.kind == Placement::Kind::kShard) return;
  out->PutSigned(placement.split_factor);
}

Placement GetPlacement(WireReader* in) {
  const uint8_t kind = in->U8();
  if (kind > static_cast<uint8_t>(Placement::Kind::kStridedShard)) in->Fail();
  Placement placement{.kind = static_cast<Placement::Kind>(kind)};
  if (placement.kind == Placement::Kind::kReplicate) return placement;
  const int64_t dim = in->Signed();
  if (dim < 0 || dim >= Dims::kMaxDims) in->Fail();
  placement.dim = in->ok() ? static_cast<int>(dim) : 0;
  if (placement.kind == Placement::Kind::kStridedShard) {
    placement.split_factor = in->Signed();
  }
  return placement;
}

}  // namespace dcp
