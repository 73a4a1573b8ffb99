// The zstd transform of items: torch's `_extension.ZStandard`.
//
// A transformed item is one zstd frame of the item's bytes, independent of all
// others; `_StorageInfo` says so in transform_descriptors.

#ifndef DCP_FORMAT_ZSTD_TRANSFORM_H_
#define DCP_FORMAT_ZSTD_TRANSFORM_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "dcp/status.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace dcp {

/// The entry in StorageInfo::transform_descriptors.
inline constexpr std::string_view kZstdDescriptor = "stream.zstd/1";

/// As torch's ZStandard.from_descriptor, any minor version: "stream.zstd/1.5".
constexpr bool IsZstdDescriptor(std::string_view transform) {
  return transform == kZstdDescriptor ||
         (transform.starts_with(kZstdDescriptor) &&
          transform[kZstdDescriptor.size()] == '.');
}

/// Receives the next bytes of a stream; they are valid during the call only.
using ByteSink = std::function<Status(std::span<const std::byte>)>;

struct ZstdWriterOptions {
  int level = 3;  ///< zstd's default, as torch's extension uses
  /// Threads that compress beside the caller's; 0: none. Ignored where libzstd
  /// was built without threads.
  int workers = 0;
};

/// Compresses one item into one frame. One thread at a time.
class ZstdFrameWriter {
 public:
  /// \error kInvalidArgument  a level that zstd does not have
  static StatusOr<std::unique_ptr<ZstdFrameWriter>> Make(
      const ZstdWriterOptions& options, ByteSink sink);

  /// Compresses `data`; passes on what has become ready.
  Status Write(std::span<const std::byte> data);
  /// Ends the frame. Nothing may be written after it.
  Status Finish();

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx_s* context) const;
  };

  explicit ZstdFrameWriter(ByteSink sink);
  Status Run(std::span<const std::byte> data, int directive);

  std::unique_ptr<ZSTD_CCtx_s, FreeContext> context_;
  ByteSink sink_;
  std::string buffer_;
};

/// Decompresses one frame, given in pieces. One thread at a time.
class ZstdFrameReader {
 public:
  /// `max_nbytes`: what the frame may expand to at most.
  ZstdFrameReader(int64_t max_nbytes, ByteSink sink);

  /// Decompresses the next piece of the frame.
  /// \error kDataLoss  not a zstd frame, bytes after its end, or more than
  ///     `max_nbytes` of output
  Status Write(std::span<const std::byte> data);
  /// \error kDataLoss  the frame is not complete
  Status Finish() const;

 private:
  struct FreeContext {
    void operator()(ZSTD_DCtx_s* context) const;
  };

  std::unique_ptr<ZSTD_DCtx_s, FreeContext> context_;
  ByteSink sink_;
  std::string buffer_;
  int64_t nbytes_left_;
  bool finished_ = false;
};

/// One frame of `data`.
StatusOr<std::string> ZstdCompress(std::string_view data,
                                   const ZstdWriterOptions& options = {});
/// The content of one frame.
StatusOr<std::string> ZstdDecompress(std::string_view frame,
                                     int64_t max_nbytes);

}  // namespace dcp

#endif  // DCP_FORMAT_ZSTD_TRANSFORM_H_
