// Names of the files of a native checkpoint, and of those that every save
// makes.

#ifndef DCP_FORMAT_FILE_NAMES_H_
#define DCP_FORMAT_FILE_NAMES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dcp {

/// torch 2.13 filesystem.py _metadata_fn.
inline constexpr std::string_view kMetadataFileName = ".metadata";

/// `__<rank>_<index>.distcp`.
struct DataFileName {
  int64_t rank = 0;
  int64_t index = 0;
  bool operator==(const DataFileName&) const = default;
};
std::string FormatDataFileName(const DataFileName& name);
/// nullopt unless FormatDataFileName gives `text`: no signs, no leading zeros.
std::optional<DataFileName> ParseDataFileName(std::string_view text);

/// `__<rank>.metadata`: what torch writes with use_collectives=False.
std::string RankMetadataFileName(int64_t rank);
/// The rank, nullopt if `text` is no such name.
std::optional<int64_t> ParseRankMetadataFileName(std::string_view text);

/// The number in `step-<number>`, a checkpoint's directory in TorchTitan's
/// layout; zeros may lead. nullopt if `text` is no such name.
std::optional<int64_t> ParseStepDirectoryName(std::string_view text);

/// Whether a StorageMeta::save_id is one of dcp's: "dcpcpp-" and 1 to 64 lower
/// case hexadecimal digits.
bool IsDcpcppSaveId(std::string_view save_id);

/// The sidecar of the save `save_id`, for which IsDcpcppSaveId holds:
/// ".dcpcpp-<digits>".
std::string SidecarName(std::string_view save_id);
/// Whether SidecarName gives `text` for some save id.
bool IsSidecarName(std::string_view text);

/// Indexed metadata of the save `save_id`, beside its sidecar:
/// ".dcpcpp-<digits>.index".
std::string IndexedMetadataName(std::string_view save_id);
/// Whether IndexedMetadataName gives `text` for some save id.
bool IsIndexedMetadataName(std::string_view text);

/// Files that a save makes beside its sidecar while it is at work: metadata
/// that is not published yet, and a lease that is not in force yet.
std::string TemporaryMetadataName(std::string_view save_id);
std::string TemporaryLeaseName(std::string_view save_id);
/// A safetensors file `index` that a save writes and has not published, and the
/// list of the files that it replaces.
std::string TemporaryShardName(std::string_view save_id, int64_t index);
std::string ReplacedListName(std::string_view save_id);
/// The save id if ReplacedListName, or TemporaryMetadataName, gives `text`.
std::optional<std::string_view> ReplacedListSaveIdOf(std::string_view text);
std::optional<std::string_view> TemporaryMetadataSaveIdOf(
    std::string_view text);
/// Whether one of these, or RecordName, gives `text` for some id.
bool IsTemporaryName(std::string_view text);

/// What processes of one save tell each other through the directory
/// (`../saver/`): ".dcpcpp-<digits>.<tag>.record". IsDcpcppSaveId holds for
/// `session_id`, and `tag` has neither '.' nor '/'.
std::string RecordName(std::string_view session_id, std::string_view tag);
/// The tag, a view into `text`; nullopt if it is no record of the session.
std::optional<std::string_view> RecordTagOf(std::string_view text,
                                            std::string_view session_id);

/// The directory beside the directory `name` in which a save makes what is to
/// take its place: ".<name>.dcpcpp-<digits>".
std::string SiblingDirectoryName(std::string_view name,
                                 std::string_view save_id);
/// The save id if SiblingDirectoryName gives `text` for `name`.
std::optional<std::string_view> SiblingSaveIdOf(std::string_view text,
                                                std::string_view name);

/// Who holds this file's lock may write into the directory; with a rank, only
/// what belongs to that rank (use_collectives=False).
std::string LockFileName(std::optional<int64_t> rank);
/// Whether LockFileName gives `text` for some rank.
bool IsRankLockFileName(std::string_view text);
/// The same where the file system has no locks.
std::string LeaseFileName(std::optional<int64_t> rank);

}  // namespace dcp

#endif  // DCP_FORMAT_FILE_NAMES_H_
