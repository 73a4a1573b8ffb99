// PoolTaking: brings what the members of a pool read to where it belongs.

#ifndef DCP_STORAGE_POOL_TAKING_H_
#define DCP_STORAGE_POOL_TAKING_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "dcp/status.h"
#include "storage/extent.h"
#include "storage/pool_member.h"

namespace dcp {

/// One thread at a time; uses several.
class PoolTaking {
 public:
  struct Options {
    int workers = 1;
    /// May be null.
    std::function<Status()> proceed;
  };

  /// `member` outlives the object.
  PoolTaking(PoolMember& member, Options options);

  /// The extents of one file.
  struct FilePart {
    std::string_view name;
    FileExtents* reads = nullptr;
  };

  /// Delivers what is in pieces before byte `end` of `last_file`, and what
  /// comes of files before that one; leaves in `files` what this rank has to
  /// read by itself. `files` ascend from call to call, and bytes do in a file.
  Status Take(std::span<const FilePart> files, std::string_view last_file,
              int64_t end);
  /// Lets go of the pieces that are left.
  Status TakeRest();

 private:
  class Batch;
  class Crew;
  Status TakeUntil(size_t end, Batch& batch);

  PoolMember& member_;
  const Options options_;
  std::vector<const PoolPiece*> pieces_;  // those that this rank takes
  size_t next_ = 0;                       // of pieces_
};

}  // namespace dcp

#endif  // DCP_STORAGE_POOL_TAKING_H_
