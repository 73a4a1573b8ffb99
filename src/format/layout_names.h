// torch's spelling of Layout values: str(torch.strided) == "torch.strided".

#ifndef DCP_FORMAT_LAYOUT_NAMES_H_
#define DCP_FORMAT_LAYOUT_NAMES_H_

#include <array>
#include <optional>
#include <string_view>

#include "dcp/metadata.h"

namespace dcp {

/// In the order of the enumerators.
inline constexpr std::array<std::string_view, 8> kLayoutNames = {
    "torch.strided",    "torch.sparse_coo", "torch.sparse_csr",
    "torch.sparse_csc", "torch.sparse_bsr", "torch.sparse_bsc",
    "torch._mkldnn",    "torch.jagged"};

inline std::string_view LayoutName(Layout layout) {
  return kLayoutNames[static_cast<size_t>(layout)];
}

inline std::optional<Layout> ParseLayout(std::string_view name) {
  for (size_t i = 0; i < kLayoutNames.size(); ++i) {
    if (kLayoutNames[i] == name) return static_cast<Layout>(i);
  }
  return std::nullopt;
}

}  // namespace dcp

#endif  // DCP_FORMAT_LAYOUT_NAMES_H_
