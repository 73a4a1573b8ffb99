// The two storages of this directory as a plug-in of dcp (dcp/plugin.h):
//
//   archive:///path/x.dcpar   a checkpoint in one file
//   mem://any/name            a checkpoint in the memory of the process
//
// From Python:
//
//   dcpcpp.load_plugin("libdcp_example_plugin.so")
//   dcpcpp.save(state, checkpoint_id="archive:///tmp/x.dcpar")

#include <memory>

#include "archive_storage.h"
#include "dcp/plugin.h"
#include "memory_file_system.h"

namespace {

class ArchiveFactory final : public dcp::StorageFactory {
 public:
  dcp::StatusOr<std::unique_ptr<dcp::StorageWriter>> MakeWriter(
      const dcp::FileSystemWriterOptions& options) override {
    if (options.compression != dcp::Compression::kNone) {
      return dcp::Unimplemented("archives are not compressed");
    }
    return examples::MakeArchiveWriter(
        {.path = options.path,
         .save_id = options.save_id,
         .overwrite = options.overwrite,
         .sync = options.sync_files,
         .export_dtype = options.export_dtype,
         .checkpoint_id = options.checkpoint_id});
  }

  dcp::StatusOr<std::unique_ptr<dcp::StorageReader>> MakeReader(
      const dcp::FileSystemReaderOptions& options) override {
    return examples::MakeArchiveReader(
        {.path = options.path, .verify = options.verify});
  }
};

dcp::Status AddStorages(dcp::StorageRegistry& registry) {
  DCP_RETURN_IF_ERROR(
      registry.AddFileSystem("mem", examples::MakeMemoryFileSystem()));
  return registry.AddStorage("archive", std::make_shared<ArchiveFactory>());
}

}  // namespace

DCP_PLUGIN("examples of dcp", AddStorages)
