// Saves and loads of a model under other names and in another layout: a trainer
// writes Hugging Face's files of its own ("native") tensors, and reads such.

#ifndef DCP_MAPPED_STORAGE_H_
#define DCP_MAPPED_STORAGE_H_

#include <memory>

#include "dcp/hugging_face_storage.h"
#include "dcp/mapping.h"
#include "dcp/storage.h"

namespace dcp {

/// As MakeHuggingFaceWriter, of what `mapping` makes of the tensors that are
/// saved. Nothing is copied beyond the parts of a file that are put together:
/// each rank's shards are read where they lie, whatever the layout.
///
/// All ranks give equal mappings; only the coordinator's is used, and its
/// direction is to Hugging Face. `options.file_numbers` are by the names in the
/// files, whose own names begin as the mapping says, if it does. Floats have
/// the dtype that the mapping says, or options.export_dtype, which comes last.
/// Tensors that are tied are stored under each of their names, unless a rule of
/// the mapping leaves one out; it does not if they are not one in memory,
/// whatever the model's numbers say. Objects are refused, unless a rule drops
/// them. \error kInvalidArgument  see Mapping::Plan; before anything is written
std::unique_ptr<StorageWriter> MakeMappedHuggingFaceWriter(
    HuggingFaceWriterOptions options, ModelMapping mapping,
    StorageEnvironment environment = {});

/// As MakeHuggingFaceReader, of what `mapping` makes of the tensors in the
/// files: a load asks for native names. Each rank reads what it needs, straight
/// to where it belongs.
///
/// All ranks give equal mappings; their direction is to native. If the mapping
/// has rules for quantized weights (Mapping::dequantizes) they are read as
/// floats. Ranks of one host do not share what they read.
/// \error kInvalidArgument  from ReadIndex, see Mapping::Plan
std::unique_ptr<StorageReader> MakeMappedHuggingFaceReader(
    HuggingFaceReaderOptions options, ModelMapping mapping,
    StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_MAPPED_STORAGE_H_
