// DirectoryClaim: the right to write a checkpoint into a directory.

#ifndef DCP_STORAGE_DIRECTORY_CLAIM_H_
#define DCP_STORAGE_DIRECTORY_CLAIM_H_

#include <memory>
#include <string>

#include "dcp/clock.h"
#include "dcp/file_system.h"

namespace dcp {

struct ClaimRequest {
  std::string directory;
  /// Who coordinates ranks claims the whole directory; a rank that saves for
  /// itself (use_collectives=False) only what belongs to it.
  int rank = 0;
  bool use_collectives = true;
  std::string save_id;
  std::string session_id;  ///< FileSystemWriterOptions
};

/// One holder at a time, on any host. Freed by the destructor.
class DirectoryClaim {
 public:
  virtual ~DirectoryClaim() = default;
  /// \error kAborted  somebody else may have it by now
  virtual Status Check() = 0;
  /// Whether the holder before was killed. Its files may be there.
  virtual bool was_abandoned() const = 0;
};

/// Claims by a lock, else by a lease. Object stores offer neither: there a
/// WatchedFileSystem's locks keep out saves of this process, nothing others.
/// \error kAborted  another save is at work there; names it
StatusOr<std::unique_ptr<DirectoryClaim>> ClaimDirectory(
    std::shared_ptr<FileSystem> file_system, std::shared_ptr<Clock> clock,
    const ClaimRequest& request);

/// Saves of all ranks and saves of ranks for themselves have claims of their
/// own, and neither begins while one of the other kind is at work. To be asked
/// with the claim in hand: then who comes second sees the first, and of two
/// who come in the same moment at least one gives way. Sees locks, no leases.
/// \error kAborted  a save of the other kind is at work there; names it
Status RequireNoOtherKind(FileSystem& file_system, const ClaimRequest& request);

}  // namespace dcp

#endif  // DCP_STORAGE_DIRECTORY_CLAIM_H_
