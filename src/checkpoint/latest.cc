#include "dcp/latest.h"

#include <algorithm>
#include <memory>
#include <tuple>
#include <utility>

#include "base/guarded.h"
#include "checkpoint/step_index.h"
#include "format/file_names.h"

namespace dcp {
namespace {

StatusOr<std::vector<StepDirectory>> List(FileSystem& file_system,
                                          const std::string& root) {
  std::vector<StepDirectory> steps;
  DCP_ASSIGN_OR_RETURN(const bool exists, file_system.Exists(root));
  if (!exists) return steps;
  DCP_ASSIGN_OR_RETURN(const auto entries, file_system.List(root));
  for (const DirectoryEntry& entry : entries) {
    const auto step = ParseStepDirectoryName(entry.name);
    if (!step || entry.kind != FileKind::kDirectory) continue;
    steps.push_back({.step = *step,
                     .path = JoinPath(root, entry.name),
                     .is_link = entry.is_link});
  }
  std::sort(steps.begin(), steps.end(),
            [](const StepDirectory& a, const StepDirectory& b) {
              return std::tie(b.step, a.path) < std::tie(a.step, b.path);
            });
  return steps;
}

StatusOr<LatestStep> Find(const std::string& root,
                          const FindLatestOptions& options,
                          const StorageEnvironment& environment) {
  DCP_ASSIGN_OR_RETURN(std::vector<StepDirectory> steps,
                       List(*environment.file_system, root));
  LatestStep latest;
  for (StepDirectory& step : steps) {
    const Status fault =
        ReadStepIndex(step.path, options, environment).status();
    if (fault.ok()) {
      latest.found = std::move(step);
      break;
    }
    latest.skipped.push_back(
        {.directory = std::move(step), .reason = std::string(Message(fault))});
  }
  return latest;
}

}  // namespace

StatusOr<std::vector<StepDirectory>> ListSteps(FileSystem& file_system,
                                               const std::string& root) {
  return Guarded([&] { return List(file_system, root); });
}

StatusOr<LatestStep> FindLatest(const std::string& root,
                                const FindLatestOptions& options,
                                StorageEnvironment environment) {
  return Guarded([&] {
    if (!environment.file_system) {
      environment.file_system = MakePosixFileSystem();
    }
    return Find(root, options, environment);
  });
}

}  // namespace dcp
