#include "format/file_names.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <system_error>

namespace dcp {
namespace {

constexpr std::string_view kSaveIdPrefix = "dcpcpp-";
// torchtitan components/checkpoint.py _find_load_step: "step-(\d+)".
constexpr std::string_view kStepPrefix = "step-";
constexpr std::string_view kDataSuffix = ".distcp";
constexpr std::string_view kIndexSuffix = ".index";
constexpr std::string_view kTemporarySuffix = ".tmp";
constexpr std::string_view kLockSuffix = ".lock";
constexpr std::string_view kLeaseSuffix = ".lease";
constexpr std::string_view kRecordSuffix = ".record";
constexpr std::string_view kShardSuffix = ".shard";
constexpr std::string_view kReplacedSuffix = ".replaced";
constexpr size_t kMaxSaveIdDigits = 64;

/// A decimal number without sign or leading zeros.
std::optional<int64_t> ParseNumber(std::string_view text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool canonical = text == "0" || (!text.empty() && text[0] != '0');
  if (error != std::errc() || stop != end || value < 0 || !canonical) {
    return std::nullopt;
  }
  return value;
}

std::string ClaimPrefix(std::optional<int64_t> rank) {
  return rank ? ".dcpcpp." + std::to_string(*rank) : ".dcpcpp";
}

bool IsHexDigit(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

/// What stands before `suffix` if that is a sidecar's name, without the dot.
std::optional<std::string_view> SaveIdBefore(std::string_view suffix,
                                             std::string_view text) {
  if (!text.ends_with(suffix)) return std::nullopt;
  text.remove_suffix(suffix.size());
  if (!IsSidecarName(text)) return std::nullopt;
  return text.substr(1);
}

/// ".dcpcpp-<digits>.<number>.shard"
bool IsShardName(std::string_view text) {
  if (!text.ends_with(kShardSuffix)) return false;
  text.remove_suffix(kShardSuffix.size());
  const size_t dot = text.rfind('.');
  return dot != text.npos && ParseNumber(text.substr(dot + 1)) &&
         IsSidecarName(text.substr(0, dot));
}

}  // namespace

std::string FormatDataFileName(const DataFileName& name) {
  return "__" + std::to_string(name.rank) + "_" + std::to_string(name.index) +
         std::string(kDataSuffix);
}

std::optional<DataFileName> ParseDataFileName(std::string_view text) {
  if (!text.starts_with("__") || !text.ends_with(kDataSuffix)) {
    return std::nullopt;
  }
  text.remove_prefix(2);
  const size_t separator = text.find('_');
  if (separator == text.npos) return std::nullopt;
  text.remove_suffix(std::min(kDataSuffix.size(), text.size()));
  if (separator >= text.size()) return std::nullopt;
  const auto rank = ParseNumber(text.substr(0, separator));
  const auto index = ParseNumber(text.substr(separator + 1));
  // We never get there; who looks for the next index adds one.
  constexpr int64_t kNoNext = std::numeric_limits<int64_t>::max();
  if (!rank || !index || *index == kNoNext) return std::nullopt;
  return DataFileName{.rank = *rank, .index = *index};
}

std::string RankMetadataFileName(int64_t rank) {
  return "__" + std::to_string(rank) + std::string(kMetadataFileName);
}

std::optional<int64_t> ParseRankMetadataFileName(std::string_view text) {
  if (!text.starts_with("__") || !text.ends_with(kMetadataFileName)) {
    return std::nullopt;
  }
  return ParseNumber(
      text.substr(2, text.size() - 2 - kMetadataFileName.size()));
}

std::optional<int64_t> ParseStepDirectoryName(std::string_view text) {
  if (!text.starts_with(kStepPrefix)) return std::nullopt;
  text.remove_prefix(kStepPrefix.size());
  int64_t step = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, step);
  if (error != std::errc() || stop != end || text.starts_with('-')) {
    return std::nullopt;
  }
  return step;
}

bool IsDcpcppSaveId(std::string_view save_id) {
  if (!save_id.starts_with(kSaveIdPrefix)) return false;
  save_id.remove_prefix(kSaveIdPrefix.size());
  return !save_id.empty() && save_id.size() <= kMaxSaveIdDigits &&
         std::all_of(save_id.begin(), save_id.end(), IsHexDigit);
}

std::string SidecarName(std::string_view save_id) {
  return "." + std::string(save_id);
}

bool IsSidecarName(std::string_view text) {
  return text.starts_with('.') && IsDcpcppSaveId(text.substr(1));
}

std::string IndexedMetadataName(std::string_view save_id) {
  return SidecarName(save_id) + std::string(kIndexSuffix);
}

bool IsIndexedMetadataName(std::string_view text) {
  return SaveIdBefore(kIndexSuffix, text).has_value();
}

std::string TemporaryMetadataName(std::string_view save_id) {
  return SidecarName(save_id) + std::string(kTemporarySuffix);
}

std::string TemporaryLeaseName(std::string_view save_id) {
  return SidecarName(save_id) + std::string(kLeaseSuffix);
}

std::string TemporaryShardName(std::string_view save_id, int64_t index) {
  return SidecarName(save_id) + "." + std::to_string(index) +
         std::string(kShardSuffix);
}

std::string ReplacedListName(std::string_view save_id) {
  return SidecarName(save_id) + std::string(kReplacedSuffix);
}

std::optional<std::string_view> ReplacedListSaveIdOf(std::string_view text) {
  return SaveIdBefore(kReplacedSuffix, text);
}

std::optional<std::string_view> TemporaryMetadataSaveIdOf(
    std::string_view text) {
  return SaveIdBefore(kTemporarySuffix, text);
}

std::string SiblingDirectoryName(std::string_view name,
                                 std::string_view save_id) {
  return "." + std::string(name) + "." + std::string(save_id);
}

std::optional<std::string_view> SiblingSaveIdOf(std::string_view text,
                                                std::string_view name) {
  const std::string prefix = SiblingDirectoryName(name, "");
  if (!text.starts_with(prefix)) return std::nullopt;
  text.remove_prefix(prefix.size());
  if (!IsDcpcppSaveId(text)) return std::nullopt;
  return text;
}

std::string RecordName(std::string_view session_id, std::string_view tag) {
  return SidecarName(session_id) + "." + std::string(tag) +
         std::string(kRecordSuffix);
}

std::optional<std::string_view> RecordTagOf(std::string_view text,
                                            std::string_view session_id) {
  const std::string prefix = SidecarName(session_id) + ".";
  if (!text.starts_with(prefix) || !text.ends_with(kRecordSuffix) ||
      text.size() <= prefix.size() + kRecordSuffix.size()) {
    return std::nullopt;
  }
  text.remove_prefix(prefix.size());
  text.remove_suffix(kRecordSuffix.size());
  if (text.find('.') != text.npos) return std::nullopt;
  return text;
}

bool IsTemporaryName(std::string_view text) {
  const size_t dot = text.find('.', 1);
  if (dot != text.npos && IsSidecarName(text.substr(0, dot)) &&
      RecordTagOf(text, text.substr(1, dot - 1))) {
    return true;
  }
  return SaveIdBefore(kTemporarySuffix, text) ||
         SaveIdBefore(kLeaseSuffix, text) ||
         SaveIdBefore(kReplacedSuffix, text) || IsShardName(text);
}

std::string LockFileName(std::optional<int64_t> rank) {
  return ClaimPrefix(rank) + std::string(kLockSuffix);
}

bool IsRankLockFileName(std::string_view text) {
  constexpr std::string_view kPrefix = ".dcpcpp.";
  if (!text.starts_with(kPrefix) || !text.ends_with(kLockSuffix)) return false;
  text.remove_prefix(std::min(kPrefix.size(), text.size()));
  text.remove_suffix(std::min(kLockSuffix.size(), text.size()));
  return ParseNumber(text).has_value();
}

std::string LeaseFileName(std::optional<int64_t> rank) {
  return ClaimPrefix(rank) + std::string(kLeaseSuffix);
}

}  // namespace dcp
