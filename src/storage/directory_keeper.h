// DirectoryKeeper: what the rank that publishes does with the directory around
// a save: claims it, removes what killed saves left, and, after the commit,
// what the save replaced.

#ifndef DCP_STORAGE_DIRECTORY_KEEPER_H_
#define DCP_STORAGE_DIRECTORY_KEEPER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dcp/clock.h"
#include "dcp/file_system.h"
#include "format/sidecar.h"
#include "storage/directory_claim.h"
#include "storage/leftovers.h"
#include "storage/rank_notes.h"

namespace dcp {

/// Holds the claim while it lives.
class DirectoryKeeper {
 public:
  /// Claims the directory and looks at what is in it.
  /// \error kAborted  another save is at work there
  static StatusOr<std::unique_ptr<DirectoryKeeper>> Open(
      std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
      const ClaimRequest& request);

  /// \error kAborted  ranks save there for themselves while this is for a save
  ///     of all, or the other way round (dcp::RequireNoOtherKind)
  Status RequireNoOtherKind() const {
    return dcp::RequireNoOtherKind(*file_system_, request_);
  }
  /// \error kFailedPrecondition  a safetensors checkpoint is there: a directory
  ///     with both kinds cannot be loaded
  Status RequireNoSafetensors() const;

  /// Makes room: removes the leftovers of killed saves, where it is certain
  /// that they are. Before any rank writes.
  void RemoveLeftovers();

  /// What rank `rank` has to know before it writes.
  RankNotes NotesFor(int64_t rank) const;

  /// Right before the commit of what `sidecar` lists.
  /// \error kAborted  files of it are gone, or the claim is: another writer
  Status CheckBeforeCommit(const Sidecar& sidecar);

  /// After the commit: removes the files that no metadata names any more.
  void RemoveReplaced(const Sidecar& sidecar);

  /// Removes the checkpoint that all ranks saved together, which loads prefer
  /// to those that ranks saved for themselves. Its metadata goes first.
  /// \error kAborted  a save of all ranks is at work there
  static Status RemoveSharedCheckpoint(std::shared_ptr<FileSystem> file_system,
                                       std::shared_ptr<Clock> clock,
                                       const std::string& directory,
                                       const std::string& save_id,
                                       SyncMode sync);

 private:
  DirectoryKeeper(std::shared_ptr<FileSystem> file_system, ClaimRequest request)
      : file_system_(std::move(file_system)), request_(std::move(request)) {}

  /// Whether what FindLeftovers finds is left over, and not data whose metadata
  /// is in another directory, on another node.
  bool is_certain() const;
  Status RequireFiles(const Sidecar& sidecar);
  Status HoldsSafetensors(const std::string& name) const;

  const std::shared_ptr<FileSystem> file_system_;
  const ClaimRequest request_;
  std::unique_ptr<DirectoryClaim> claim_;
  DirectorySurvey survey_;
  std::vector<std::string> replaced_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_DIRECTORY_KEEPER_H_
