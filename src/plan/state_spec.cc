// A state spec on the wire (base/wire.h):
//
//   u8 version, u8 oldest version of a reader that understands it
//   count of meshes, then each (plan/mesh_wire.h)
//   count of layouts, then each:
//     dims global size, number of the mesh
//     count of placements, then each (plan/mesh_wire.h)
//   a string: the entries, planner_data and ties as a save plan, where a laid
//     out tensor is a kShard of no dimensions
//   for each kShard, in order, the number of its layout

#include "plan/state_spec.h"

#include <algorithm>
#include <utility>

#include "base/wire.h"
#include "dcp/plan.h"
#include "plan/mesh_wire.h"

namespace dcp {
namespace {

constexpr uint8_t kVersion = 1;
constexpr uint8_t kOldestReader = 1;

void PutLayout(const TensorLayout& layout, WireWriter* out) {
  out->PutDims(layout.global_size);
  out->PutVarint(layout.mesh);
  out->PutVarint(layout.placements.size());
  for (const Placement& placement : layout.placements) {
    PutPlacement(placement, out);
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

uint32_t GetNumber(WireReader* in) {
  const uint64_t number = in->Varint();
  if (number > UINT32_MAX) in->Fail();
  return static_cast<uint32_t>(number);
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

}  // namespace

StateSpec WithoutObjects(StateSpec spec) {
  std::erase_if(spec.entries, [&spec](const StateEntry& entry) {
    const bool is_object = std::holds_alternative<StateObject>(entry.value);
    if (is_object && spec.planner_data) spec.planner_data->erase(entry.fqn);
    return is_object;
  });
  return spec;
}

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
  for (const DeviceMesh& mesh : spec.meshes) PutMesh(mesh, &out);
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
