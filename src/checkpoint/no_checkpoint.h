// Why there is no checkpoint where somebody looks for one.

#ifndef DCP_CHECKPOINT_NO_CHECKPOINT_H_
#define DCP_CHECKPOINT_NO_CHECKPOINT_H_

#include <string>

#include "dcp/file_system.h"
#include "dcp/status.h"

namespace dcp {

/// `status`, with which reading a checkpoint at `path` began, said better if it
/// is kNotFound and no checkpoint is there: that there is nothing, a save that
/// was not finished, or a folder of steps, of which it names the newest. An OK
/// status stays OK.
Status ExplainNotFound(FileSystem& file_system, const std::string& path,
                       const Status& status);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_NO_CHECKPOINT_H_
