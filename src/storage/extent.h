// Extent: bytes of a file that somebody wants.

#ifndef DCP_STORAGE_EXTENT_H_
#define DCP_STORAGE_EXTENT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "format/sidecar.h"
#include "staging/read_pipeline.h"

namespace dcp {

/// Takes the bytes of one stored item, in any order and from several threads.
/// Ranges are file offsets.
class ExtentSink {
 public:
  virtual ~ExtentSink() = default;

  /// Key of the stored item, for error messages.
  virtual std::string_view key() const = 0;

  /// Memory where the bytes [begin, end) belong as they are stored, nullptr if
  /// they must be converted or go to several places.
  virtual std::byte* InPlace(int64_t begin, int64_t end) {
    static_cast<void>(begin);
    static_cast<void>(end);
    return nullptr;
  }

  /// Takes the bytes from `begin` on. `bytes` may be what InPlace returned:
  /// then they are in place already. Every byte of the sink's extents comes
  /// once.
  virtual Status Write(int64_t begin, std::span<const std::byte> bytes) = 0;
};

/// Bytes [begin, end) of a file go to `sink`.
struct Extent {
  int64_t begin = 0;
  int64_t end = 0;
  ExtentSink* sink = nullptr;
};

/// The reads of one file.
struct FileExtents {
  File* file = nullptr;
  int64_t file_nbytes = 0;
  /// Set if every block is checked against the file's recorded checksums.
  const SidecarFile* checksums = nullptr;
  std::vector<Extent> extents;
};

/// Extents of one file, cut into reads.
///
/// With checksums, reads cover whole cells of the checksum grid, so that every
/// byte used is a byte checked. Without, neighbours that lie closer together
/// than a device would gain by skipping are read in one go.
class ExtentReads {
 public:
  /// Sorts the extents. `reads` must outlive the blocks.
  ExtentReads(FileExtents reads, int64_t max_block_nbytes);

  const FileExtents& file() const { return file_; }
  struct Range {
    int64_t begin = 0;
    int64_t end = 0;
    size_t first_extent = 0;  ///< extents that may overlap begin here
  };
  const std::vector<Range>& ranges() const { return ranges_; }

 private:
  void CutByGrid(int64_t max_block_nbytes);
  void CutByExtent(int64_t max_block_nbytes);

  FileExtents file_;
  std::vector<Range> ranges_;
};

/// Reads all extents of all files into their sinks.
/// \error kDataLoss  a checksum differs; names the file and the offset
StatusOr<ReadStats> ReadExtents(std::vector<FileExtents> files,
                                const PipelineOptions& options);

}  // namespace dcp

#endif  // DCP_STORAGE_EXTENT_H_
