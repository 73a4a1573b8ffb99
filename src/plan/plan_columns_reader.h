// PlanColumnsReader: from the messages of all ranks to PlanColumns.

#ifndef DCP_PLAN_PLAN_COLUMNS_READER_H_
#define DCP_PLAN_PLAN_COLUMNS_READER_H_

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest128.h"
#include "plan/plan_columns.h"

namespace dcp {

/// For one use, by PlanColumns::Read.
class PlanColumnsReader {
 public:
  explicit PlanColumnsReader(std::span<std::string> messages)
      : messages_(messages) {}

  StatusOr<PlanColumns> Read() &&;

 private:
  /// A block, and what is known of it before any record is read.
  struct KnownBlock {
    const KeyBlock* block = nullptr;
    std::string_view bytes;  ///< of its first rank's message
    size_t rank_count = 0;
  };

  Status ReadHead(uint32_t rank);
  StatusOr<size_t> BlockNumber(const PlanMessage& message, uint32_t rank);
  StatusOr<size_t> AddBlock(const PlanMessage& message, uint32_t rank);
  /// Gives every key the room of its records.
  void Allocate();
  Status ReadRecords(uint32_t rank);
  Status Fault(const RecordReader& reader, ItemRef ref) const;
  void Store(const RecordReader& reader, uint32_t key, ItemRef ref);

  const std::span<std::string> messages_;
  PlanColumns columns_;
  std::vector<KnownBlock> known_;
  std::map<Digest128, size_t> numbers_;
  /// By entry: those at odds with the first of their key, or impossible.
  std::vector<bool> is_faulty_;
  std::vector<size_t> stored_;  // records of each key so far
  int64_t total_nbytes_ = 0;
};

}  // namespace dcp

#endif  // DCP_PLAN_PLAN_COLUMNS_READER_H_
