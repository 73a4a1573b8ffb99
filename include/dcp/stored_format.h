// StoredFormat: the formats of checkpoints that are read.

#ifndef DCP_STORED_FORMAT_H_
#define DCP_STORED_FORMAT_H_

#include <cstdint>
#include <string_view>

namespace dcp {

enum class StoredFormat : uint8_t {
  kDcp,          ///< a directory in PyTorch's distributed format
  kSafetensors,  ///< Hugging Face's files, one or several
  kTorch,        ///< one file of torch.save
};

/// "dcp", "safetensors" or "torch".
constexpr std::string_view StoredFormatName(StoredFormat format) {
  switch (format) {
    case StoredFormat::kDcp:
      return "dcp";
    case StoredFormat::kSafetensors:
      return "safetensors";
    case StoredFormat::kTorch:
      return "torch";
  }
  return "";
}

}  // namespace dcp

#endif  // DCP_STORED_FORMAT_H_
