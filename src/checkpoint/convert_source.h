// ConvertSource: the data of a conversion, from one checkpoint to a writer.

#ifndef DCP_CHECKPOINT_CONVERT_SOURCE_H_
#define DCP_CHECKPOINT_CONVERT_SOURCE_H_

#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "checkpoint/conversion_plan.h"
#include "checkpoint/read_ahead.h"
#include "dcp/storage.h"
#include "dcp/transport.h"

namespace dcp {

class ConvertSource final : public WriteSource, public WriteStream {
 public:
  /// All outlive the source; `reader` was set up.
  ConvertSource(const ConversionPlan& plan, StorageReader& reader,
                Transport& transport, const ConvertOptions& options);

  /// Before it is given to a writer.
  Status Start();

  StatusOr<WritePayload> Resolve(const WriteItem& item) override;
  WriteStream* StreamOf(const WriteItem& item) override;
  int64_t max_resolved_nbytes() const override;
  void Release() override;
  Status Proceed() override;

  Status Read(const WriteItem& item, int64_t byte_begin,
              std::span<std::byte> out) override;
  void Cancel() override { ahead_.Cancel(); }

 private:
  StatusOr<WritePayload> ResolveObject(const WriteItem& item);
  /// All of the plan's objects: one by one would cost as much for each.
  Status ReadObjects() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  StatusOr<WritePayload> ResolveEncoded(const WriteItem& item,
                                        const ConvertedItem& converted);
  StatusOr<WritePayload> ResolvePiece(const WriteItem& item,
                                      const ConvertedItem& converted);
  const ConvertedItem& ConvertedOf(const WriteItem& item) const {
    return plan_.items[static_cast<size_t>(item.source)];
  }

  const ConversionPlan& plan_;
  Transport& transport_;
  const ConvertOptions& options_;
  PieceReader reader_;
  ReadAhead ahead_;
  Mutex mutex_;
  bool has_objects_ ABSL_GUARDED_BY(mutex_) = false;
  std::unordered_map<std::string_view, std::string> objects_
      ABSL_GUARDED_BY(mutex_);
  std::deque<std::string> encoded_ ABSL_GUARDED_BY(mutex_);
  std::vector<AlignedBuffer> pieces_ ABSL_GUARDED_BY(mutex_);
  int64_t nbytes_resolved_ ABSL_GUARDED_BY(mutex_) = 0;  // of pieces
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_CONVERT_SOURCE_H_
