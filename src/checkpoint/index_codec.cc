#include "checkpoint/index_codec.h"

#include <utility>

#include "base/wire.h"
#include "dcp/metadata_codec.h"

namespace dcp {

StatusOr<std::string> EncodeIndex(const CheckpointIndex& index) {
  DCP_ASSIGN_OR_RETURN(const std::string metadata,
                       SerializeMetadata(index.metadata));
  WireWriter out;
  out.PutString(metadata);
  out.PutString(index.storage_data);
  return std::move(out).Take();
}

StatusOr<CheckpointIndex> DecodeIndex(std::string_view message) {
  WireReader in(message, "the checkpoint's metadata");
  const std::string_view metadata = in.String();
  CheckpointIndex index{.storage_data = std::string(in.String())};
  DCP_RETURN_IF_ERROR(in.Finish());
  DCP_ASSIGN_OR_RETURN(index.metadata, ParseMetadata(metadata));
  return index;
}

}  // namespace dcp
