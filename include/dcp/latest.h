// FindLatest: the newest checkpoint of a training run.

#ifndef DCP_LATEST_H_
#define DCP_LATEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

/// `<root>/step-<step>`, TorchTitan's layout.
struct StepDirectory {
  int64_t step = 0;
  std::string path;
  bool is_link = false;  ///< whether `path` is a link to a directory

  bool operator==(const StepDirectory&) const = default;
};

/// A step that is newer than the one that was found, and why it is not it.
struct SkippedStep {
  StepDirectory directory;
  std::string reason;
};

struct LatestStep {
  std::optional<StepDirectory> found;
  std::vector<SkippedStep> skipped;  ///< newest first
};

/// Which steps count.
enum class StepCheck : uint8_t {
  /// `.metadata` can be parsed; in dcp's own checkpoints the sidecar is there
  /// and agrees with it. Of safetensors: the headers of what the index names,
  /// of `model.safetensors`, or of files of ranks that dcp wrote. Reads no
  /// data.
  kCommitted,
  /// And Verify() finds no damage. Safetensors that others wrote do not pass:
  /// nothing tells whether their data is what was written.
  kVerified,
};

struct FindLatestOptions {
  StepCheck check = StepCheck::kCommitted;
  IoOptions io;
};

/// The sub-directories of `root` that are named `step-<number>`, by number,
/// newest first; zeros may lead. A `root` that does not exist has none.
StatusOr<std::vector<StepDirectory>> ListSteps(FileSystem& file_system,
                                               const std::string& root);

/// The newest step below `root` that passes options.check, in the native format
/// or in safetensors. A directory that cannot be read, or is damaged, is
/// skipped with the reason, however it came to be so. Checkpoints of ranks that
/// did not coordinate (`__<rank>.metadata`) do not count: nothing says that all
/// ranks are there.
/// \error only if `root` cannot be listed
StatusOr<LatestStep> FindLatest(const std::string& root,
                                const FindLatestOptions& options = {},
                                StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_LATEST_H_
