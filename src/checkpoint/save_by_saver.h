// SaveBySaver: a staged state is saved by another process.

#ifndef DCP_CHECKPOINT_SAVE_BY_SAVER_H_
#define DCP_CHECKPOINT_SAVE_BY_SAVER_H_

#include "checkpoint/staged_state.h"

namespace dcp {

/// As Save, for a state that was staged for a saver.
/// \error kUnimplemented  the storage can only be written to by this process
/// \error kResourceExhausted  not all of the state was staged
StatusOr<SaveResult> SaveBySaver(StagedEntries& state, StorageWriter& writer,
                                 Transport& transport,
                                 const SaveOptions& options);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_BY_SAVER_H_
