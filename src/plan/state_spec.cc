// A state spec on the wire (base/wire.h):
//
//   u8 version, u8 oldest version of a reader that understands it
//   count of meshes, then each:
//     dims sizes
//     runs of ranks until there are enough: first rank, signed step, count;
//       each as long as it can be
//   count of layouts, then each:
//     dims global size, number of the mesh
//     count of placements, then each:
//       u8 kind; of shards the dimension, of strided ones the split factor
//   a string: the entries, planner_data and ties as a save plan, where a laid
//     out tensor is a kShard of no dimensions
//   for each kShard, in order, the number of its layout

#include "plan/state_spec.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"
#include "dcp/plan.h"

namespace dcp {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kOldestReader = 1;
// What a message of a few bytes may expand to.
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

void PutLayout(const TensorLayout& layout, WireWriter* out) {
  out->PutDims(layout.global_size);
  out->PutVarint(layout.mesh);
  out->PutVarint(layout.placements.size());
  for (const Placement& placement : layout.placements) {
    out->PutU8(static_cast<uint8_t>(placement.kind));
    if (placement.kind == Placement::Kind::kReplicate) continue;
    out->PutSigned(placement.dim);
    if (placement.kind == Placement::Kind::kShard) continue;
    out->PutSigned(placement.split_factor);
  }
}

WriteItem ItemOf(const StateEntry& entry) {
  WriteItem item{.fqn = entry.fqn};
  if (const auto* laid_out = std::get_if<LaidOutTensor>(&entry.value)) {
    item.type = WriteItemType::kShard;
    item.properties = laid_out->properties;
    item.nbytes = ItemSize(laid_out->properties.dtype);
  } else if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
    item.type = WriteItemType::kTensor;
    item.properties = whole->properties;
    item.global_size = whole->size;
    item.chunk = WholeBox(whole->size);
    item.nbytes = whole->nbytes;
  } else {
    item.type = WriteItemType::kByteIo;
    item.nbytes = std::get<StateObject>(entry.value).nbytes;
  }
  return item;
}

StateEntry EntryOf(WriteItem item) {
  StateEntry entry{.fqn = std::move(item.fqn)};
  if (item.type == WriteItemType::kShard) {
    entry.value = LaidOutTensor{.properties = item.properties};
  } else if (item.type == WriteItemType::kTensor) {
    entry.value = WholeTensor{.properties = item.properties,
                              .size = std::move(item.global_size),
                              .nbytes = item.nbytes};
  } else {
    entry.value = StateObject{.nbytes = item.nbytes};
  }
  return entry;
}

SavePlan PlanOf(const StateSpec& spec) {
  SavePlan plan{.planner_data = spec.planner_data, .ties = spec.ties};
  plan.items.reserve(spec.entries.size());
  for (const StateEntry& entry : spec.entries) {
    plan.items.push_back(ItemOf(entry));
    plan.items.back().source = static_cast<int64_t>(plan.items.size()) - 1;
  }
  return plan;
}

/// Adds to `total` what the ranks that have these meshes had before.
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

uint32_t GetNumber(WireReader* in) {
  const uint64_t number = in->Varint();
  if (number > UINT32_MAX) in->Fail();
  return static_cast<uint32_t>(number);
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

TensorLayout GetLayout(WireReader* in) {
  TensorLayout layout{.global_size = in->GetDims(), .mesh = GetNumber(in)};
  for (size_t left = in->Count(1); in->ok() && left > 0; --left) {
    layout.placements.push_back(GetPlacement(in));
  }
  return layout;
}

Status GetEntries(WireReader* in, StateSpec* spec) {
  const std::string_view bytes = in->String();
  DCP_RETURN_IF_ERROR(in->status());
  DCP_ASSIGN_OR_RETURN(SavePlan plan, ParseSavePlan(bytes));
  for (WriteItem& item : plan.items) {
    spec->entries.push_back(EntryOf(std::move(item)));
  }
  spec->planner_data = std::move(plan.planner_data);
  spec->ties = std::move(plan.ties);
  for (StateEntry& entry : spec->entries) {
    auto* laid_out = std::get_if<LaidOutTensor>(&entry.value);
    if (laid_out != nullptr) laid_out->layout = GetNumber(in);
  }
  return in->status();
}

/// What the entry adds to the checkpoint, nullopt if that is no number.
std::optional<int64_t> NbytesOf(const StateSpec& spec,
                                const StateEntry& entry) {
  if (const auto* object = std::get_if<StateObject>(&entry.value)) {
    return object->nbytes;
  }
  if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
    if (!CheckedNumel(whole->size)) return std::nullopt;
    return whole->nbytes;
  }
  const auto& laid_out = std::get<LaidOutTensor>(entry.value);
  if (laid_out.layout >= spec.layouts.size()) return std::nullopt;
  int64_t nbytes = 0;
  if (__builtin_mul_overflow(Numel(spec.layouts[laid_out.layout].global_size),
                             ItemSize(laid_out.properties.dtype), &nbytes)) {
    return std::nullopt;
  }
  return nbytes;
}

Status CheckMesh(const DeviceMesh& mesh) {
  const auto ranks = CheckedNumel(mesh.sizes);
  if (ranks && static_cast<size_t>(*ranks) == mesh.ranks.size()) {
    return absl::OkStatus();
  }
  return InvalidArgument("a device mesh of the sizes " + ToString(mesh.sizes) +
                         " has " + std::to_string(mesh.ranks.size()) +
                         " ranks");
}

}  // namespace

Status CheckStateSpec(const StateSpec& spec) {
  for (const DeviceMesh& mesh : spec.meshes) {
    DCP_RETURN_IF_ERROR(CheckMesh(mesh));
  }
  for (const TensorLayout& layout : spec.layouts) {
    if (layout.mesh >= spec.meshes.size()) {
      return InvalidArgument("a layout is over the mesh " +
                             std::to_string(layout.mesh) + " of " +
                             std::to_string(spec.meshes.size()));
    }
    DCP_RETURN_IF_ERROR(CheckLayout(layout, spec.meshes[layout.mesh].sizes));
  }
  int64_t total = 0;
  for (const StateEntry& entry : spec.entries) {
    const std::optional<int64_t> nbytes = NbytesOf(spec, entry);
    if (!nbytes || *nbytes < 0 ||
        __builtin_add_overflow(total, *nbytes, &total)) {
      return InvalidArgument("the entry " + entry.fqn +
                             " of a state has an impossible layout or size");
    }
  }
  return absl::OkStatus();
}

std::string SerializeStateSpec(const StateSpec& spec) {
  WireWriter out;
  out.PutU8(kVersion);
  out.PutU8(kOldestReader);
  out.PutVarint(spec.meshes.size());
  for (const DeviceMesh& mesh : spec.meshes) {
    out.PutDims(mesh.sizes);
    PutRanks(mesh.ranks, &out);
  }
  out.PutVarint(spec.layouts.size());
  for (const TensorLayout& layout : spec.layouts) PutLayout(layout, &out);
  out.PutString(SerializeSavePlan(PlanOf(spec)));
  for (const StateEntry& entry : spec.entries) {
    const auto* laid_out = std::get_if<LaidOutTensor>(&entry.value);
    if (laid_out != nullptr) out.PutVarint(laid_out->layout);
  }
  return std::move(out).Take();
}

StatusOr<StateSpec> ParseStateSpec(std::string_view data) {
  WireReader in(data, "a state spec");
  const uint8_t version = in.U8();
  const uint8_t oldest_reader = in.U8();
  if (in.ok() && oldest_reader > kVersion) {
    return FailedPrecondition(
        "a state spec of version " + std::to_string(version) +
        " needs a reader of version " + std::to_string(oldest_reader) +
        ", this is " + std::to_string(kVersion) +
        ": do all ranks run the same version of dcp?");
  }
  StateSpec spec;
  uint64_t ranks = 0;
  for (size_t left = in.Count(1); in.ok() && left > 0; --left) {
    spec.meshes.push_back(GetMesh(&in, &ranks));
  }
  for (size_t left = in.Count(3); in.ok() && left > 0; --left) {
    spec.layouts.push_back(GetLayout(&in));
  }
  DCP_RETURN_IF_ERROR(GetEntries(&in, &spec));
  if (version <= kVersion) DCP_RETURN_IF_ERROR(in.Finish());
  const Status status = CheckStateSpec(spec);
  if (!status.ok()) {
    return DataLoss("a state spec is malformed: " +
                    std::string(Message(status)));
  }
  return spec;
}

Digest128 DigestOf(const StateSpec& spec) {
  return DigestOf(SerializeStateSpec(spec));
}

}  // namespace dcp
