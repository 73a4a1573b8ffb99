// CheckpointFormat: the formats of checkpoints.

#ifndef DCP_CHECKPOINT_FORMAT_H_
#define DCP_CHECKPOINT_FORMAT_H_

#include <cstdint>
#include <string_view>

namespace dcp {

enum class CheckpointFormat : uint8_t {
  kDcp,          ///< a directory in PyTorch's distributed format
  kSafetensors,  ///< Hugging Face's files, one or several
  kTorch,        ///< one file of torch.save
};

/// "dcp", "safetensors" or "torch".
constexpr std::string_view CheckpointFormatName(CheckpointFormat format) {
  switch (format) {
    case CheckpointFormat::kDcp:
      return "dcp";
    case CheckpointFormat::kSafetensors:
      return "safetensors";
    case CheckpointFormat::kTorch:
      return "torch";
  }
  return "";
}

}  // namespace dcp

#endif  // DCP_CHECKPOINT_FORMAT_H_
