// HuggingFacePublisher: how safetensors files that all ranks write become the
// checkpoint of a directory. src/checkpoint/COMMIT.md, "Safetensors", tells the
// whole protocol.

#ifndef DCP_STORAGE_HUGGING_FACE_PUBLISH_H_
#define DCP_STORAGE_HUGGING_FACE_PUBLISH_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/clock.h"
#include "dcp/file_system.h"
#include "format/sidecar.h"
#include "storage/commit.h"
#include "storage/directory_claim.h"
#include "storage/safetensors_survey.h"

namespace dcp {

enum class PublishWay : uint8_t {
  /// There is no safetensors checkpoint. Files get their names when they are
  /// complete, the index last.
  kFresh,
  /// A complete directory is made beside the old one, and exchanged with it.
  kExchange,
  /// Files have the save id in their names; the index is replaced.
  kIndexed,
};

struct PublishOptions {
  std::string directory;  ///< is there
  std::string save_id;
  std::string session_id;           ///< FileSystemWriterOptions
  std::string file_stem = "model";  ///< HuggingFaceWriterOptions
  bool overwrite = true;
  /// Files are ranks' own (rank_layout.h): no index tells which of them count.
  bool file_per_rank = false;
  SyncMode sync = SyncMode::kSync;
};

/// Where a file is written, and what it is called in the end.
struct ShardPlace {
  std::string path;
  std::string name;
};

/// What is published.
struct PublishRequest {
  /// The index's bytes, with the save id; empty for a single file without one,
  /// and for files of ranks.
  std::string_view index;
  /// Lists the files in the order and with the names of PlaceShards, or
  /// PlaceRankFiles, and has been bound by BindSidecar.
  Sidecar sidecar;
};

/// Binds `sidecar` to the bytes of the index, or, without one, to what comes
/// before the data of the first file.
void BindSidecar(std::string_view index_or_head, Sidecar* sidecar);

/// Of the rank that coordinates a save, from its beginning to its end. Holds
/// the claim of the directory. One thread at a time.
class HuggingFacePublisher {
 public:
  /// Claims the directory, removes what killed saves left, and chooses the way.
  /// \error kAborted  another save is at work there
  /// \error kFailedPrecondition  a native checkpoint is there, or `overwrite`
  ///     is off and there is a safetensors checkpoint; safetensors files are
  ///     there that no save replaces, with `file_per_rank`, or under the name
  ///     of the single file; without exchange, an index of another stem
  /// \error kInvalidArgument  what is called as the index, or as a file that
  ///     goes, is no file
  /// \error kUnimplemented  the file system cannot replace names; with
  ///     `file_per_rank`, a checkpoint is there, and directories cannot be
  ///     exchanged
  static StatusOr<std::unique_ptr<HuggingFacePublisher>> Open(
      std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
      PublishOptions options);
  ~HuggingFacePublisher();

  PublishWay way() const { return way_; }
  /// Why directories are not exchanged where they would be; empty otherwise.
  const std::string& why_indexed() const { return why_indexed_; }
  /// Whether there must be an index even for a single file.
  bool needs_index() const;

  /// Where the files of the save are written, in their order. They are to be
  /// created, exclusively, by the caller. Call it once.
  std::vector<ShardPlace> PlaceShards(int64_t count);
  /// The same of files of ranks, which have `names`.
  std::vector<ShardPlace> PlaceRankFiles(std::vector<std::string> names);

  /// Publishes the files, which are complete, synced and closed, removes what
  /// they replace, and gives the claim back.
  /// \error kAborted  files are gone, or the claim is: another writer
  /// \error kAlreadyExists  another program has made a file of a name of ours
  Status Publish(const PublishRequest& request);

  /// Whether readers may see the new checkpoint: then nothing is removed.
  bool commit_attempted() const { return progress_.attempted; }

  /// Removes what this save made, unless the commit was attempted, and gives
  /// the claim back.
  void Abandon();

 private:
  HuggingFacePublisher(std::shared_ptr<FileSystem> file_system,
                       PublishOptions options);

  Status LookAround();
  Status RequireReplaceable(std::span<const DirectoryEntry> entries) const;
  Status RequireNoCheckpoint() const;
  Status RequireNoForeignFile() const;
  /// "<stem>.safetensors.index.json" and "<stem>.safetensors".
  std::string IndexName() const;
  std::string SingleName() const;
  void RemoveLeftovers(std::vector<std::string> names);
  std::vector<ShardPlace> Place(std::vector<std::string> names);
  Status CheckRequest(const PublishRequest& request) const;
  Status RequireWritten() const;
  Status SyncNames(const std::string& directory);
  Status Write(const std::string& directory, const std::string& name,
               std::string_view bytes);

  // hugging_face_way.cc
  Status ChooseWay(std::span<const DirectoryEntry> entries);
  Status PrepareExchange(std::span<const DirectoryEntry> entries);
  Status RequireOneIndex() const;

  // hugging_face_rank_files.cc
  Status RequireNoStrays() const;
  Status RefuseInPlace(const Status& why) const;
  Status MarkUnpublished();
  Status RemoveMark();

  // hugging_face_in_place.cc
  Status PublishInPlace(const PublishRequest& request);
  Status WriteReplacedList();
  Status NameShards(const PublishRequest& request);
  Status RemoveReplaced();

  // hugging_face_exchange.cc
  Status PublishByExchange(const PublishRequest& request);
  Status CarryFiles();

  const std::shared_ptr<FileSystem> file_system_;
  const PublishOptions options_;
  std::unique_ptr<DirectoryClaim> claim_;
  SafetensorsSurvey survey_;
  PublishWay way_ = PublishWay::kFresh;
  std::string why_indexed_;
  std::string sibling_;  // of kExchange
  std::vector<ShardPlace> shards_;
  CommitProgress progress_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_HUGGING_FACE_PUBLISH_H_
