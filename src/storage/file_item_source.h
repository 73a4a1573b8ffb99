// FileItemSource: an item in a file.

#ifndef DCP_STORAGE_FILE_ITEM_SOURCE_H_
#define DCP_STORAGE_FILE_ITEM_SOURCE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "dcp/file_system.h"
#include "dcp/status.h"
#include "format/zip_reader.h"

namespace dcp {

/// One thread at a time, as any ItemSource.
class FileItemSource final : public ItemSource {
 public:
  /// The item begins at the byte `begin` of `file`, which outlives the source.
  explicit FileItemSource(File& file, int64_t begin = 0)
      : file_(file), begin_(begin) {}

  Status Read(int64_t item_offset, std::span<std::byte> out) override {
    const IoSlice slice{out.data(), out.size()};
    return file_.ReadFully(begin_ + item_offset, {&slice, 1});
  }

 private:
  File& file_;
  const int64_t begin_;
};

}  // namespace dcp

#endif  // DCP_STORAGE_FILE_ITEM_SOURCE_H_
