// SaveFrom: a save of what is not in memory.

#ifndef DCP_CHECKPOINT_SAVE_FROM_H_
#define DCP_CHECKPOINT_SAVE_FROM_H_

#include "dcp/checkpoint.h"
#include "dcp/plan.h"
#include "dcp/storage.h"
#include "dcp/transport.h"

namespace dcp {

/// As Save, of what `source` has and `plan` lists: this rank's local plan,
/// whose WriteItem::source means something to `source` alone. Dtypes and sizes
/// in bytes are those that will be stored.
StatusOr<SaveResult> SaveFrom(const SavePlan& plan, WriteSource& source,
                              StorageWriter& writer, Transport& transport);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_FROM_H_
