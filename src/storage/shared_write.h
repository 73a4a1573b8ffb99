// One rank's writing of its part of files that several ranks write.

#ifndef DCP_STORAGE_SHARED_WRITE_H_
#define DCP_STORAGE_SHARED_WRITE_H_

#include <memory>
#include <string>

#include "comm/peer_exchange.h"
#include "dcp/device_runtime.h"
#include "dcp/filesystem_storage.h"
#include "dcp/plan.h"
#include "dcp/storage.h"
#include "io/watched_file_system.h"
#include "staging/write_rate.h"
#include "storage/shared_outcome.h"
#include "storage/shared_part.h"

namespace dcp {

/// Where and how.
struct SharedWriter {
  WatchedFileSystem& file_system;
  DeviceRuntime& device;
  const IoOptions& io;
  SyncMode sync = SyncMode::kSync;
  int rank = 0;
  std::shared_ptr<WriteRate> rate;
};

/// Writes the extents of `part` that are the rank's, sends others what they
/// need for theirs, makes it durable, and closes the files. `plan` is the
/// rank's, to whose items `part` refers; all of them are resolved before a byte
/// is written, and released at the end.
/// \error kUnavailable  a rank that something is exchanged with has gone
/// \error kNotFound  this rank does not see the coordinator's files
StatusOr<SharedOutcome> WriteSharedPart(const SharedWriter& writer,
                                        const SavePlan& plan,
                                        const SharedPart& part,
                                        std::unique_ptr<PeerListener> listener,
                                        WriteSource& source);

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_WRITE_H_
