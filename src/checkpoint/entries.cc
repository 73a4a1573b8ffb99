#include <utility>

#include "checkpoint/spec_of_entries.h"
#include "dcp/checkpoint.h"
#include "format/object_item.h"

namespace dcp {

std::string_view SerializedObject::view() const {
  const auto* held = std::get_if<std::string>(&bytes);
  return held != nullptr ? *held : std::get<OwnedView>(bytes).view;
}

SaveEntry TensorEntry(std::string fqn, TensorView view) {
  Dims sizes = view.sizes;
  Dims offsets = Dims::Filled(sizes.size(), 0);
  return {.fqn = std::move(fqn),
          .value = TensorShard{.view = std::move(view),
                               .global_size = std::move(sizes),
                               .offsets = std::move(offsets)}};
}

SaveEntry ShardEntry(std::string fqn, TensorView view, Dims global_size,
                     Dims offsets) {
  return {.fqn = std::move(fqn),
          .value = TensorShard{.view = std::move(view),
                               .global_size = std::move(global_size),
                               .offsets = std::move(offsets),
                               .type = WriteItemType::kShard}};
}

StatusOr<SaveEntry> LaidOutEntry(std::string fqn, TensorView view,
                                 Dims global_size,
                                 std::shared_ptr<const MeshLayout> layout) {
  if (layout == nullptr) {
    return InvalidArgument("the tensor " + fqn + " has no layout");
  }
  const StatusOr<Box> chunk = ChunkOf(*layout, global_size);
  if (!chunk.ok()) return Annotate(chunk.status(), "the tensor " + fqn);
  SaveEntry entry = ShardEntry(std::move(fqn), std::move(view),
                               std::move(global_size), chunk->offsets);
  auto& shard = std::get<TensorShard>(entry.value);
  shard.layout = std::move(layout);
  DCP_RETURN_IF_ERROR(CheckIsChunk(entry.fqn, shard, *chunk));
  return entry;
}

StatusOr<SaveEntry> ObjectEntry(std::string fqn, const ObjectValue& value) {
  DCP_ASSIGN_OR_RETURN(std::string bytes, EncodeObject(value));
  return SaveEntry{.fqn = std::move(fqn),
                   .value = SerializedObject{.bytes = std::move(bytes)}};
}

LoadEntry TensorLoad(std::string fqn, TensorView view) {
  Dims sizes = view.sizes;
  Dims offsets = Dims::Filled(sizes.size(), 0);
  return ShardLoad(std::move(fqn), std::move(view), std::move(sizes),
                   std::move(offsets));
}

LoadEntry ShardLoad(std::string fqn, TensorView view, Dims global_size,
                    Dims offsets) {
  return {.fqn = std::move(fqn),
          .value = TensorDestination{.view = std::move(view),
                                     .global_size = std::move(global_size),
                                     .offsets = std::move(offsets)}};
}

LoadEntry ObjectLoad(std::string fqn) {
  return {.fqn = std::move(fqn), .value = ObjectDestination{}};
}

StatusOr<ObjectValue> DecodeObject(std::string_view bytes) {
  return DecodeObjectItem(bytes);
}

StatusOr<std::string> EncodeObject(const ObjectValue& value) {
  return EncodeObjectItem(value);
}

}  // namespace dcp
