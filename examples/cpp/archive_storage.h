// A storage of a third party: a whole checkpoint in ONE file.
//
// It derives from dcp::StorageWriter and dcp::StorageReader, uses headers of
// dcp/ only, and so works with dcp::Save, dcp::Load and dcp::Checkpoint, with
// one rank or many, and through example_plugin.cc with dcpcpp.save in Python.
// archive_format.h describes the file.
//
//   const auto writer = examples::MakeArchiveWriter({.path = "/ckpt/7.dcpar"});
//   dcp::Save(entries, *writer, transport, {});

#ifndef EXAMPLES_ARCHIVE_STORAGE_H_
#define EXAMPLES_ARCHIVE_STORAGE_H_

#include <memory>
#include <optional>
#include <string>

#include "dcp/dtype.h"
#include "dcp/storage.h"

namespace examples {

struct ArchiveWriterOptions {
  std::string path;  ///< the archive; its directory exists
  /// Made up for each save if empty.
  std::string save_id;
  /// Whether an archive that is there may be replaced.
  bool overwrite = true;
  /// Data and name are durable before the save returns.
  bool sync = true;
  /// Floating-point tensors are stored in this dtype.
  std::optional<dcp::DType> export_dtype;
  /// Recorded in the metadata; the path if empty.
  std::string checkpoint_id;
};

std::unique_ptr<dcp::StorageWriter> MakeArchiveWriter(
    ArchiveWriterOptions options);

struct ArchiveReaderOptions {
  std::string path;
  /// Check every item that is read against its checksum.
  bool verify = true;
};

std::unique_ptr<dcp::StorageReader> MakeArchiveReader(
    ArchiveReaderOptions options);

/// Where a rank keeps an archive of its own when ranks do not coordinate
/// (dcp::SaveOptions::use_collectives).
std::string RankArchivePath(const std::string& path, int rank);

}  // namespace examples

#endif  // EXAMPLES_ARCHIVE_STORAGE_H_
