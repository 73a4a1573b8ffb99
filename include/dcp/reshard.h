// ReshardCheckpoint: a checkpoint as another number of ranks would have saved
// it.
//
// Any number of ranks can load any checkpoint. It is fastest where each finds
// its part in one file, which is what this is for.

#ifndef DCP_RESHARD_H_
#define DCP_RESHARD_H_

#include <functional>
#include <string>

#include "dcp/convert.h"
#include "dcp/filesystem_storage.h"
#include "dcp/status.h"

namespace dcp {

struct ReshardRequest {
  /// A checkpoint: see Describe.
  std::string source;
  /// A directory. A native checkpoint in it is replaced in one step, when
  /// everything is written.
  std::string destination;
  int ranks = 1;  ///< from 1 to 65536
  /// Called now and then, in the caller's thread; an error ends it all.
  std::function<Status(const ConvertProgress&)> progress;
  IoOptions io;
};

/// Writes what is in `source` as a native checkpoint of request.ranks ranks, of
/// which each has one file.
///
/// A tensor is cut along its first dimension, as torch.chunk does it for FSDP2:
/// all parts but the last are equal, and ranks may be left without one. A 0-d
/// tensor is one rank's, each the next one's in turn, and so is a chunk that
/// only torch can decode; objects are rank 0's. Keys, paths and objects stay as
/// they are.
///
/// As much memory as Convert takes, whatever the number of ranks, whose files
/// are written one after the other. What is read is checked as a load checks
/// it; what is written appears as a whole or not at all.
/// \error kInvalidArgument  source and destination are the same; request.ranks
///     is out of bounds
/// Others as of Convert.
StatusOr<ConvertResult> ReshardCheckpoint(const ReshardRequest& request,
                                          StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_RESHARD_H_
