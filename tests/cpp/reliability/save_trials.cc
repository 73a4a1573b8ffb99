#include "reliability/save_trials.h"

#include <iostream>
#include <utility>

#include "dcp/async_save.h"
#include "dcp/clean.h"
#include "testing/scoreboard.h"

namespace dcp::testing {
namespace {

/// An error names the call, its errno, and the file unless it is io_uring
/// itself that fails, or memory. Another writer at work (which is what EAGAIN
/// of a lock means) has none of these.
bool IsPrecise(const Status& status) {
  if (status.code() == absl::StatusCode::kAborted) return true;
  const auto detail = GetErrorDetail(status);
  return detail && detail->error_number != 0 &&
         (!detail->path.empty() || detail->op.starts_with("io_uring") ||
          detail->op.ends_with("shared memory"));
}

SaveExit ExitOf(const Status& status) {
  if (status.ok()) return kSaved;
  const auto failures = GetRankFailures(status);
  if (!failures || failures->phase.empty()) return kFailedVaguely;
  for (const auto& [rank, cause] : failures->by_rank) {
    if (!IsPrecise(cause)) {
      std::cerr << "vague: " << Message(cause) << "\n";
      return kFailedVaguely;
    }
  }
  return IsInDoubt(status) ? kFailedInDoubt : kFailed;
}

/// Savers never exchange directories: whole files are saved in place, whatever
/// the file system, and files of ranks are not replaced.
bool HasSaver(FileFormat format) {
  return format == FileFormat::kNative || format == FileFormat::kSafetensors;
}

}  // namespace

std::string ToString(const SaveKind& kind) {
  std::string text =
      kind.engine == IoEngineKind::kUring ? "io_uring" : "threads";
  text += ", " + std::to_string(kind.file_count) + " file(s)";
  if (kind.format != FileFormat::kNative) text += ", " + ToString(kind.format);
  if (kind.compression == Compression::kZstd) text += ", zstd";
  if (kind.has_index) text += ", indexed";
  if (kind.by == SaveBy::kThread) text += ", async";
  if (kind.by == SaveBy::kProcess) text += ", async by a saver";
  return text;
}

std::vector<SaveKind> AllSaveKinds() {
  using enum FileFormat;
  std::vector<SaveKind> kinds = {
      {.file_count = 1}, {.file_count = 4}, {.has_index = true}};
  if (Trials(0, 1) == 0) {
    kinds.push_back({.format = kSafetensors, .file_count = 4});
    kinds.push_back({.format = kSafetensorsInPlace});
  } else {
    for (const FileFormat format : {kSafetensors, kSafetensorsInPlace}) {
      kinds.push_back({.format = format, .file_count = 1});
      kinds.push_back({.format = format, .file_count = 4});
    }
    kinds.push_back({.format = kSafetensorsOfRanks});
  }
  if (!SelectIoEngine(IoEngineKind::kUring).ok()) return kinds;
  const size_t count = kinds.size();
  for (size_t i = 0; i < count; ++i) {
    SaveKind kind = kinds[i];
    kind.engine = IoEngineKind::kUring;
    const bool is_quick = Trials(0, 1) == 0;
    if (kind.has_index || (is_quick && kind.format != kNative)) continue;
    kinds.push_back(kind);
  }
  return kinds;
}

std::vector<SaveKind> AsyncSaveKinds() {
  std::vector<SaveKind> kinds;
  for (SaveKind kind : AllSaveKinds()) {
    // Who saves makes no difference to how many files there are.
    const bool rings = kind.engine == IoEngineKind::kUring;
    if (kind.file_count != (rings ? 4 : 1) || kind.has_index) continue;
    for (const SaveBy by : {SaveBy::kThread, SaveBy::kProcess}) {
      kind.by = by;
      if (by == SaveBy::kProcess && !HasSaver(kind.format)) continue;
      kinds.push_back(kind);
    }
  }
  return kinds;
}

std::vector<SaveKind> AllAndAsyncSaveKinds() {
  std::vector<SaveKind> kinds = AllSaveKinds();
  for (const SaveKind& kind : AsyncSaveKinds()) kinds.push_back(kind);
  return kinds;
}

SaveTrials::SaveTrials(const SaveKind& kind, const std::string& parent)
    : own_parent_(parent.empty() ? std::make_unique<TempDirectory>() : nullptr),
      parent_(parent.empty() ? own_parent_->path() : parent),
      kind_(kind) {
  swapped_ = true;
  REQUIRE(SaveUndisturbed());
}

AnyPlace SaveTrials::Place() const {
  AnyPlace place{
      .format = kind_.format,
      .native = {
          .fs = MakePosixFileSystem(),
          .directory = parent_ + "/ckpt",
          .writer = {.file_count = kind_.file_count,
                     .compression = kind_.compression,
                     .io = ModestIo(kind_.engine)},
          .min_indexed_items = kind_.has_index ? 1 : kMinIndexedItems,
      }};
  // 256 KiB, so that even these files have several blocks.
  place.native.writer.io.block_nbytes = int64_t{256} << 10;
  // Three large tensors, each as large as a file, and a file of small ones.
  if (kind_.file_count == 4) place.max_shard_nbytes = 400'000;
  return place;
}

SaveExit SaveTrials::SaveOther() const { return ExitOf(TrySaveOther()); }

Status SaveTrials::TrySaveOther() const {
  if (kind_.by != SaveBy::kCaller) return SaveInBackground();
  on_begin_(0);
  const auto transport = MakeSingleProcessTransport();
  return TrySaveOther(*MakeWriter(), *transport);
}

Status SaveTrials::SaveInBackground() const {
  StagingOptions staging;
  if (kind_.by == SaveBy::kProcess) {
    DCP_ASSIGN_OR_RETURN(staging.saver, SaverAtRest());
  }
  on_begin_(staging.saver ? staging.saver->process_id().value_or(0) : 0);
  const auto entries = OtherEntries();
  return AsyncSave(std::vector<SaveEntry>(entries.begin(), entries.end()),
                   nullptr,
                   {.writer = MakeWriter(),
                    .transport = MakeSingleProcessTransport()},
                   {.staging = staging})
      ->Wait()
      .status();
}

/// It has saved something, so that all it does from now on is for the next.
StatusOr<std::shared_ptr<Saver>> SaveTrials::SaverAtRest() const {
  DCP_ASSIGN_OR_RETURN(auto saver, Saver::Make({.program = DCP_SAVER_PROGRAM}));
  const AllEntries entries = Sharded(conformance::SmallState(1), 1);
  const auto span = entries[0].span();
  const auto first =
      AsyncSave(std::vector<SaveEntry>(span.begin(), span.end()), nullptr,
                {.writer = MakeFileSystemWriter({.path = parent_ + "/first"}),
                 .transport = MakeSingleProcessTransport()},
                {.staging = {.saver = saver}});
  DCP_RETURN_IF_ERROR(first->Wait().status());
  return saver;
}

std::unique_ptr<StorageWriter> SaveTrials::MakeWriter() const {
  return StorageAt(Place()).make_writer();
}

Status SaveTrials::TrySaveOther(StorageWriter& writer,
                                Transport& transport) const {
  return Save(OtherEntries(), writer, transport, {}).status();
}

std::span<const SaveEntry> SaveTrials::OtherEntries() const {
  return (swapped_ ? old_entries_ : new_entries_)[0].span();
}

OldAndNew SaveTrials::States() const {
  if (!swapped_) return states_;
  return {.old_state = states_.new_state, .new_state = states_.old_state};
}

Found SaveTrials::Look() const { return WhatIsIn(Place(), States()); }

bool SaveTrials::IsSaved() const {
  return Look() == Found::kNew &&
         WhatOthersFind(Place(), States()) == Found::kNew;
}

void SaveTrials::Keep(Found found) {
  if (found == Found::kNew) swapped_ = !swapped_;
}

bool SaveTrials::SaveUndisturbed() {
  if (SaveOther() != kSaved || !IsSaved()) return false;
  Keep(Found::kNew);
  return true;
}

std::vector<std::string> SaveTrials::Leftovers() const {
  const auto left =
      CleanCheckpoint(Place().native.directory, {.dry_run = true});
  if (!left.ok()) return {std::string(Message(left.status()))};
  std::vector<std::string> names;
  for (const Leftover& leftover : *left) names.push_back(leftover.name);
  return names;
}

}  // namespace dcp::testing
