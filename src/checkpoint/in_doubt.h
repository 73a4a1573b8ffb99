// In doubt: a save that failed when readers may already see the new checkpoint.
// COMMIT.md, "When something fails".

#ifndef DCP_CHECKPOINT_IN_DOUBT_H_
#define DCP_CHECKPOINT_IN_DOUBT_H_

#include "dcp/status.h"

namespace dcp {

/// Tags a failure after which readers may or may not see the new checkpoint.
Status MarkInDoubt(const Status& status);
/// Whether any rank's failure is tagged.
bool HasOneInDoubt(const RankFailures& failures);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_IN_DOUBT_H_
