#include "manager/step_facts.h"

#include <algorithm>
#include <string_view>

#include "checkpoint/step_index.h"
#include "storage/hugging_face_reader.h"

namespace dcp {
namespace {

/// Whether `key` is `top`, or a key below it.
bool IsBelowKey(std::string_view key, std::string_view top) {
  return key.starts_with(top) &&
         (key.size() == top.size() || key[top.size()] == '.');
}

StepExtent ExtentOf(const CheckpointIndex& index,
                    const std::vector<std::string>& state_keys) {
  if (IsSafetensors(index)) return StepExtent::kModelOnly;
  const auto is_state = [&](const Metadata::Entry& entry) {
    return std::any_of(
        state_keys.begin(), state_keys.end(),
        [&](const std::string& key) { return IsBelowKey(entry.first, key); });
  };
  const auto& entries = index.metadata.entries();
  const bool has_state = std::any_of(entries.begin(), entries.end(), is_state);
  return has_state || state_keys.empty() ? StepExtent::kFull
                                         : StepExtent::kModelOnly;
}

std::string NameOfContent(const std::string& path,
                          const CheckpointIndex& index) {
  const auto& meta = index.metadata.storage_meta;
  return path + "\n" + (meta ? meta->save_id.value_or("") : "");
}

}  // namespace

bool IsPinned(FileSystem& file_system, const std::string& path) {
  return file_system.Exists(JoinPath(path, kPinFileName)).value_or(true);
}

StepFacts StepExaminer::Examine(const StepDirectory& directory,
                                StepCheck check) {
  const std::string& path = directory.path;
  StepFacts facts{.directory = directory,
                  .is_pinned = IsPinned(*environment_.file_system, path)};
  const auto index = ReadStepIndex(path, {.io = options_.io}, environment_);
  facts.fault = index.status();
  if (!index.ok()) return facts;
  facts.format = IsSafetensors(*index) ? CheckpointFormat::kSafetensors
                                       : CheckpointFormat::kDcp;
  facts.extent = ExtentOf(*index, options_.state_keys);
  if (check == StepCheck::kCommitted) return facts;
  const std::string content = NameOfContent(path, *index);
  if (verified_.contains(content)) return facts;
  facts.fault =
      ReadStepIndex(path, {.check = check, .io = options_.io}, environment_)
          .status();
  if (facts.fault.ok()) verified_.insert(content);
  return facts;
}

}  // namespace dcp
