// Where a checkpoint's files may really lie.

#ifndef DCP_STORAGE_READ_ROOT_H_
#define DCP_STORAGE_READ_ROOT_H_

#include <string>
#include <string_view>

namespace dcp {

/// The directory that files of the checkpoint `directory` must lie beneath
/// after their links are followed: the checkpoint itself, or, in a Hugging Face
/// hub cache, whose snapshots hold links to blobs, the `models--*` folder that
/// is above it (huggingface_hub, "Understand caching").
std::string ReadRoot(std::string_view directory);

}  // namespace dcp

#endif  // DCP_STORAGE_READ_ROOT_H_
