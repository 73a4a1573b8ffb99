#include "checkpoint/save_planning.h"

#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/wire.h"
#include "checkpoint/check_view.h"

namespace dcp {
namespace {

/// Whether a tensor of this shape has bytes that 64 bits count, as the format
/// asks for.
bool FitsInt64(const Dims& sizes, DType dtype) {
  const std::optional<int64_t> numel = CheckedNumel(sizes);
  return numel &&
         *numel <= std::numeric_limits<int64_t>::max() / ItemSize(dtype);
}

Status CheckOp(const std::string& fqn, const TensorView& view,
               const StorageWriter& writer) {
  if (view.op == ElementOp::kNone) return absl::OkStatus();
  if (!SupportsElementOp(view.op, view.dtype)) {
    return InvalidArgument("the tensor " + fqn + " of dtype " +
                           std::string(DTypeName(view.dtype)) +
                           " has an op that is not defined for it");
  }
  if (!writer.AppliesElementOps() || view.device.type != DeviceType::kCpu) {
    return Unimplemented("the op of the tensor " + fqn +
                         " is not applied by this storage or on its device; "
                         "pass a tensor without one");
  }
  return absl::OkStatus();
}

StatusOr<WriteItem> PlanTensor(const SaveEntry& entry, const TensorShard& shard,
                               const StorageWriter& writer) {
  const TensorView& view = shard.view;
  const DType stored =
      shard.encoded ? view.dtype : writer.StoredDType(view.dtype);
  if (!shard.encoded) DCP_RETURN_IF_ERROR(CheckView(entry.fqn, view));
  DCP_RETURN_IF_ERROR(CheckOp(entry.fqn, view, writer));
  Box chunk{.offsets = shard.offsets, .sizes = view.sizes};
  if (!FitsInt64(view.sizes, view.dtype) || !FitsInt64(view.sizes, stored) ||
      !FitsInt64(shard.global_size, stored) ||
      !InBounds(shard.global_size, chunk)) {
    return InvalidArgument("the shard " + ToString(chunk) + " of " + entry.fqn +
                           " does not lie in its global shape " +
                           ToString(shard.global_size) +
                           ", or has too many bytes");
  }
  return WriteItem{
      .fqn = entry.fqn,
      .type = shard.type,
      .chunk = std::move(chunk),
      .global_size = shard.global_size,
      .properties = {.dtype = stored, .requires_grad = shard.requires_grad},
      .nbytes = shard.encoded ? static_cast<int64_t>(shard.encoded->size())
                              : Numel(view.sizes) * ItemSize(stored)};
}

WriteItem PlanObject(const SaveEntry& entry, const SerializedObject& object) {
  return {.fqn = entry.fqn,
          .type = WriteItemType::kByteIo,
          .nbytes = static_cast<int64_t>(object.view().size())};
}

/// What makes two shards the same bytes in the same place, as text.
std::string IdentityOf(const TensorShard& shard) {
  WireWriter out;
  out.PutU64(reinterpret_cast<uintptr_t>(shard.view.data));
  out.PutU8(static_cast<uint8_t>(shard.view.device.type));
  out.PutSigned(shard.view.device.index);
  out.PutU8(static_cast<uint8_t>(shard.view.dtype));
  out.PutU8(static_cast<uint8_t>(shard.view.op));
  for (const Dims* dims : {&shard.view.sizes, &shard.view.strides,
                           &shard.global_size, &shard.offsets}) {
    out.PutDims(*dims);
  }
  return std::move(out).Take();
}

/// Has those of `plan` that lie in the memory of one before them say so. Shards
/// without elements have no memory.
void MarkTies(std::span<const SaveEntry> entries, SavePlan* plan) {
  // All shards that the rank has of a tensor, and tensors in their order.
  std::unordered_map<std::string_view, std::string> identities;
  std::vector<std::string_view> fqns;
  for (const SaveEntry& entry : entries) {
    const auto* shard = std::get_if<TensorShard>(&entry.value);
    if (shard == nullptr || Numel(shard->view.sizes) == 0) continue;
    const auto [identity, is_new] = identities.try_emplace(entry.fqn);
    if (is_new) fqns.push_back(entry.fqn);
    identity->second += IdentityOf(*shard);
  }
  std::unordered_map<std::string_view, std::string_view> first;
  for (const std::string_view fqn : fqns) {
    const auto [other, is_first] = first.emplace(identities.at(fqn), fqn);
    if (!is_first) plan->ties.emplace(fqn, other->second);
  }
}

}  // namespace

StatusOr<SavePlan> MakeLocalPlan(std::span<const SaveEntry> entries,
                                 const StorageWriter& writer,
                                 const SaveOptions& options) {
  SavePlan plan;
  plan.items.reserve(entries.size());
  if (options.record_paths) plan.planner_data.emplace();
  for (size_t i = 0; i < entries.size(); ++i) {
    const SaveEntry& entry = entries[i];
    if (const auto* shard = std::get_if<TensorShard>(&entry.value)) {
      DCP_ASSIGN_OR_RETURN(WriteItem item, PlanTensor(entry, *shard, writer));
      plan.items.push_back(std::move(item));
    } else {
      plan.items.push_back(
          PlanObject(entry, std::get<SerializedObject>(entry.value)));
    }
    plan.items.back().source = static_cast<int64_t>(i);
    if (options.record_paths) {
      plan.planner_data->try_emplace(
          entry.fqn, entry.path.empty() ? ObjectPath{entry.fqn} : entry.path);
    }
  }
  if (writer.StoresTiesOnce()) MarkTies(entries, &plan);
  return plan;
}

Box PartOf(const TensorShard& shard, const WriteItem& item) {
  Box part = item.chunk;
  for (int d = 0; d < part.ndim(); ++d) part.offsets[d] -= shard.offsets[d];
  return part;
}

StatusOr<WritePayload> EntrySource::Resolve(const WriteItem& item) {
  const SaveEntry& entry = entries_[static_cast<size_t>(item.source)];
  if (const auto* object = std::get_if<SerializedObject>(&entry.value)) {
    return WritePayload(object->view());
  }
  const auto& shard = std::get<TensorShard>(entry.value);
  if (shard.encoded) return WritePayload(*shard.encoded);
  return WritePayload(Narrow(shard.view, PartOf(shard, item)));
}

}  // namespace dcp
