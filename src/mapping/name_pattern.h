// NamePattern: names of tensors that differ in the indices of layers and
// experts.

#ifndef DCP_MAPPING_NAME_PATTERN_H_
#define DCP_MAPPING_NAME_PATTERN_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/mapping.h"
#include "dcp/status.h"

namespace dcp {

/// By placeholder.
using NameIndices = std::map<std::string, int64_t>;

/// "layers.{layer}.weight" has an index where {layer} is, and
/// "{mtp+num_hidden_layers}" one that is larger by that number of the model. A
/// "*" is any text. Immutable.
class NamePattern {
 public:
  /// Of a pattern: matching takes time with each "*", and memory with bytes.
  static constexpr size_t kMaxNbytes = 1000;
  static constexpr size_t kMaxWildcards = 3;

  /// \error kInvalidArgument  no such pattern, or one that is too long
  static StatusOr<NamePattern> Parse(std::string_view text);

  const std::string& text() const { return text_; }
  bool has_wildcard() const;
  std::set<std::string> placeholders() const;

  /// The indices in `name`; nullopt if it is no such name.
  /// \error kInvalidArgument  a number that is needed for it is missing
  StatusOr<std::optional<NameIndices>> Match(std::string_view name,
                                             const ModelNumbers& numbers) const;

  /// The name that has `indices`, of all placeholders; without wildcards.
  /// \error kInvalidArgument  as Match
  StatusOr<std::string> NameOf(const NameIndices& indices,
                               const ModelNumbers& numbers) const;

 private:
  enum class Kind : uint8_t { kText, kIndex, kAny };
  struct Part {
    Kind kind = Kind::kText;
    std::string text;    ///< of kText; of kIndex the placeholder
    std::string offset;  ///< of kIndex: the number to add, empty for none
  };

  Status AddPlaceholder(std::string_view inner);
  static bool MatchFrom(std::span<const Part> parts, std::string_view rest,
                        std::vector<int64_t>* indices);

  std::string text_;
  std::vector<Part> parts_;
};

/// The number `name` of a model.
/// \error kInvalidArgument  it is not there, with what to do
StatusOr<int64_t> NumberOf(const ModelNumbers& numbers, std::string_view name);

}  // namespace dcp

#endif  // DCP_MAPPING_NAME_PATTERN_H_
