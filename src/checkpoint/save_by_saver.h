// SaveBySaver: a staged state is saved by another process.

#ifndef DCP_CHECKPOINT_SAVE_BY_SAVER_H_
#define DCP_CHECKPOINT_SAVE_BY_SAVER_H_

#include <optional>

#include "checkpoint/staged_state.h"

namespace dcp {

/// As Save, for a state that was staged for a saver. nullopt: this rank is to
/// save in threads, because it has no saver, or because the ranks agreed on
/// that: one of them has more than it can share with its saver.
/// \error kUnimplemented  the storage can only be written to by this process
std::optional<StatusOr<SaveResult>> SaveBySaver(StagedEntries& state,
                                                StorageWriter& writer,
                                                Transport& transport,
                                                const SaveOptions& options);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_BY_SAVER_H_
