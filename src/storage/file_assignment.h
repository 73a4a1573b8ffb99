// Which items of a rank's plan go to which of its files.

#ifndef DCP_STORAGE_FILE_ASSIGNMENT_H_
#define DCP_STORAGE_FILE_ASSIGNMENT_H_

#include <vector>

#include "dcp/filesystem_storage.h"
#include "dcp/plan.h"

namespace dcp {

/// The items of each file, in file order: objects first, then tensors in plan
/// order, as torch writes them (torch 2.13 filesystem.py
/// _split_by_size_and_type). With several files per rank the largest tensors
/// are dealt first, each to the file with the fewest bytes. Files without
/// items are left out.
std::vector<std::vector<const WriteItem*>> AssignToFiles(
    const SavePlan& plan, const FileSystemWriterOptions& options);

}  // namespace dcp

#endif  // DCP_STORAGE_FILE_ASSIGNMENT_H_
