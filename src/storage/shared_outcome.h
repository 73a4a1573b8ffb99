// SharedOutcome: the checksums of what one rank wrote into files that several
// ranks write, and how those of all ranks become the sidecar's.

#ifndef DCP_STORAGE_SHARED_OUTCOME_H_
#define DCP_STORAGE_SHARED_OUTCOME_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"
#include "storage/block_checksums.h"

namespace dcp {

/// By file of the rank's SharedPart: the pieces that the rank wrote, by offset.
using SharedOutcome = std::vector<std::vector<ChecksumPiece>>;

std::string SerializeSharedOutcome(const SharedOutcome& outcome);
/// \error kDataLoss  not what SerializeSharedOutcome wrote
StatusOr<SharedOutcome> ParseSharedOutcome(std::string_view data);

/// The checksums of a file's blocks, from the pieces of all ranks.
/// \error kInternal  a byte of the file was written by nobody, or by two
StatusOr<std::vector<uint32_t>> JoinChecksums(std::vector<ChecksumPiece> pieces,
                                              int64_t file_nbytes,
                                              const std::string& name);

}  // namespace dcp

#endif  // DCP_STORAGE_SHARED_OUTCOME_H_
