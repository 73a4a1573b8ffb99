// DiskModel: what a disk holds after the power went, given what was synced.

#ifndef DCP_TESTS_TESTING_DISK_MODEL_H_
#define DCP_TESTS_TESTING_DISK_MODEL_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"

namespace dcp::testing {

/// What is left of changes that were not synced when the power went.
enum class RebootPolicy : uint8_t {
  kDropUnsynced,  ///< nothing
  kKeepRandomly,  ///< any of them, in any order: see disk_model.cc
  kKeepAll,       ///< everything (the process was killed, the machine was not)
};

/// Takes the changes that a file system accepted, in their order, and makes the
/// file systems that a power cut may leave. One thread at a time.
class DiskModel {
 public:
  /// A file or a directory, whatever its names.
  using Inode = size_t;

  /// Starts from all that is in `fs`, as durable.
  explicit DiskModel(FileSystem& fs);

  // Each of these succeeded on the real file system just now.
  Inode Create(const std::string& path);
  void MakeDirectories(const std::string& path);
  void Rename(const std::string& from, const std::string& to);
  void Exchange(const std::string& a, const std::string& b);
  void Link(const std::string& from, const std::string& to);
  /// Of a file, or of an empty directory.
  void Remove(const std::string& path);
  void SyncDirectory(const std::string& path);
  void Write(Inode inode, int64_t byte_offset, std::string bytes);
  void Truncate(Inode inode, int64_t nbytes);
  void Sync(Inode inode);

  /// A sync failed: what was not durable never will be, although reads still
  /// show it (fsyncgate).
  void LoseUnsynced(Inode inode);

  Inode Find(const std::string& path) const;

  /// A new memory file system.
  std::shared_ptr<FileSystem> AfterReboot(RebootPolicy policy,
                                          uint64_t seed) const;

 private:
  /// A write, or a new size if `nbytes` is set.
  struct Change {
    int64_t byte_offset = 0;
    std::string bytes;
    std::optional<int64_t> nbytes;
  };
  using Names = std::map<std::string, Inode>;
  struct Node {
    bool is_directory = false;
    Names live, durable;                    // of a directory
    std::string live_bytes, durable_bytes;  // of a file
    std::vector<Change> pending;
  };
  /// One entry set to an inode, or removed.
  struct NameChange {
    Inode directory = 0;
    std::string name;
    std::optional<Inode> inode;
  };
  /// Changes of one directory that become durable together.
  using NameStep = std::vector<NameChange>;
  struct Choice;

  void Import(FileSystem& fs, const std::string& path, Inode directory);
  Inode Add(Node node);
  Inode Parent(const std::string& path, std::string* name) const;
  void ApplyLive(NameStep step);
  /// In one step if they are in one directory.
  void ApplyBoth(NameChange one, NameChange other);
  static void Apply(const Change& change, std::string* bytes);
  std::string BytesAfter(const Node& node, Choice& choice) const;
  std::vector<Names> NamesAfter(Choice& choice) const;

  static constexpr Inode kRoot = 0;
  std::vector<Node> nodes_;
  std::vector<NameStep> pending_names_;  // in order
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_DISK_MODEL_H_
