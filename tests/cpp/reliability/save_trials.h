// A directory on the disk, into which children save one of two states in turn.

#ifndef DCP_TESTS_RELIABILITY_SAVE_TRIALS_H_
#define DCP_TESTS_RELIABILITY_SAVE_TRIALS_H_

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/any_format.h"
#include "checkpoint/rank_threads.h"
#include "dcp/saver.h"
#include "testing/temp_directory.h"

namespace dcp::testing {

/// What a child's exit code says of its save.
enum SaveExit : int {
  kSaved = 0,
  kFailed = 1,         ///< with an error that names path and errno
  kFailedInDoubt = 2,  ///< the same, and that the new one may be there
  kFailedVaguely = 3,  ///< with an error that lacks one of them
};

/// Who carries a save out.
enum class SaveBy : uint8_t {
  kCaller,   ///< Save
  kThread,   ///< AsyncSave
  kProcess,  ///< AsyncSave with a saver
};

/// How the saves of a test are made.
struct SaveKind {
  IoEngineKind engine = IoEngineKind::kThreads;
  FileFormat format = FileFormat::kNative;
  int file_count = 1;  ///< 1 or 4
  Compression compression = Compression::kNone;
  SaveBy by = SaveBy::kCaller;
  bool has_index = false;  ///< indexed metadata
};

std::string ToString(const SaveKind& kind);

/// Both engines (io_uring where there is one), with 1 and with 4 files; native
/// checkpoints, and safetensors, which replace others in all their ways: of
/// these `make test` takes two.
std::vector<SaveKind> AllSaveKinds();

/// Asynchronous saves, in threads and by a saver, with both engines.
std::vector<SaveKind> AsyncSaveKinds();

/// Both.
std::vector<SaveKind> AllAndAsyncSaveKinds();

/// Owns the directory. The old state is in it at first.
class SaveTrials {
 public:
  /// In a directory of its own below `parent`, by default the system's place
  /// for temporary files.
  explicit SaveTrials(const SaveKind& kind, const std::string& parent = "");

  const SaveKind& kind() const { return kind_; }

  /// Has `hook` called when a save begins, and all that it needs is there. It
  /// gets the saver's process, 0 without one.
  void OnBegin(std::function<void(int saver)> hook) {
    on_begin_ = std::move(hook);
  }

  /// Saves the state that is not in the directory; for the child.
  SaveExit SaveOther() const;
  Status TrySaveOther() const;
  /// The same in two steps.
  std::unique_ptr<StorageWriter> MakeWriter() const;
  Status TrySaveOther(StorageWriter& writer, Transport& transport) const;
  /// The entries of that state, whose memory this has.
  std::span<const SaveEntry> OtherEntries() const;

  /// What is in the directory now. kOld is what was there before the last
  /// trial, kNew what it was to save.
  Found Look() const;
  /// Whether all readers, others' too, find the new one: what a save promises
  /// that returns OK.
  bool IsSaved() const;

  /// The next trial starts from what is there now.
  void Keep(Found found);

  /// A save that must succeed, in this process, of what is not there.
  bool SaveUndisturbed();

  /// Names of the files that belong to no checkpoint.
  std::vector<std::string> Leftovers() const;

 private:
  AnyPlace Place() const;
  /// In the order of the next trial.
  OldAndNew States() const;
  Status SaveInBackground() const;
  StatusOr<std::shared_ptr<Saver>> SaverAtRest() const;

  const std::unique_ptr<TempDirectory> own_parent_;
  const std::string parent_;
  const SaveKind kind_;
  const OldAndNew states_ = StatesFor(kind_.format, LargerStates());
  const AllEntries old_entries_ = Sharded(states_.old_state, 1);
  const AllEntries new_entries_ = Sharded(states_.new_state, 1);
  bool swapped_ = false;  ///< new_state is in the directory
  std::function<void(int)> on_begin_ = [](int) {};
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_RELIABILITY_SAVE_TRIALS_H_
