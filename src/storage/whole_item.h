// Items that are read whole and decoded in memory: objects, small tensors, and
// tensors that only torch can decode.

#ifndef DCP_STORAGE_WHOLE_ITEM_H_
#define DCP_STORAGE_WHOLE_ITEM_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "dcp/device_runtime.h"
#include "dcp/storage.h"
#include "storage/extent.h"
#include "storage/stored_item.h"

namespace dcp {

/// Whether a stored tensor's dtype may be another than the metadata says.
enum class DTypeRule : uint8_t { kAny, kAsRecorded };

/// What decoding needs.
struct DecodeContext {
  ReadTarget& target;
  DeviceRuntime& device;
  bool verify = true;  ///< check the CRC-32 of every zip record
  DTypeRule dtype_rule = DTypeRule::kAny;
};

/// Hands a whole item, as torch.save made it, to the target of its reads.
Status DecodeItem(const StoredItem& item, std::span<const std::byte> bytes,
                  const DecodeContext& context);
/// The same, without a copy of an object's bytes.
Status DecodeItem(const StoredItem& item, std::string bytes,
                  const DecodeContext& context);

/// Collects an item, which is not empty, and decodes it when it is complete.
/// Thread-safe.
class WholeItemSink final : public ExtentSink {
 public:
  WholeItemSink(const StoredItem& item, const DecodeContext& context)
      : item_(item), context_(context) {}

  Extent extent() {
    return {.begin = item_.info.offset,
            .end = item_.info.offset + item_.info.length,
            .sink = this};
  }

  std::string_view key() const override { return item_.index.fqn; }
  Status Write(int64_t begin, std::span<const std::byte> bytes) override;

 private:
  const StoredItem& item_;
  const DecodeContext& context_;
  Mutex mutex_;
  std::string collected_ ABSL_GUARDED_BY(mutex_);
  int64_t nbytes_collected_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace dcp

#endif  // DCP_STORAGE_WHOLE_ITEM_H_
