// SharedIndex: the index of the checkpoint that ranks load, the same on all.

#ifndef DCP_CHECKPOINT_SHARED_INDEX_H_
#define DCP_CHECKPOINT_SHARED_INDEX_H_

#include <span>
#include <string>
#include <string_view>

#include "dcp/checkpoint.h"
#include "dcp/storage.h"
#include "dcp/transport.h"
#include "storage/outline_reader.h"

namespace dcp {

/// One load's. The coordinator reads metadata once; an outline of them, where
/// the reader has one, so that each rank reads only the items of its entries.
class SharedIndex {
 public:
  /// Both outlive the index.
  SharedIndex(StorageReader& reader, Transport& transport)
      : reader_(reader),
        transport_(transport),
        outlining_(dynamic_cast<OutlineReader*>(&reader)) {}
  SharedIndex(const SharedIndex&) = delete;
  SharedIndex& operator=(const SharedIndex&) = delete;

  /// All ranks: whether there are metadata of all of them, which value() then
  /// has. If not, every rank has its own: ReadOwn.
  StatusOr<bool> Share();
  /// All ranks, after Share: whether there are others by now, which value()
  /// then has. A coordinator that cannot read them says no.
  StatusOr<bool> ShareAgain();
  Status ReadOwn();
  /// All ranks, after ReadOwn: whether a rank finds others by now, which
  /// ReadOwn is then to read. A rank that cannot read them says no.
  StatusOr<bool> IsAnyOwnReplaced();

  /// Stays where it is.
  const CheckpointIndex& value() const { return index_; }

  /// After SetUp of the reader with value(): adds what `entries` need and is
  /// not there yet.
  /// \error kDataLoss  see OutlineReader
  Status ReadItemsOf(std::span<const LoadEntry> entries);
  /// Frees planner_data.
  void DropPaths() { index_.metadata.planner_data.reset(); }

 private:
  StatusOr<CheckpointOutline> Read();
  StatusOr<std::string> ReadMessage();
  StatusOr<std::string> ReadNewMessage();
  Status Take(std::string_view message);
  StatusOr<bool> IsSame(const CheckpointOutline& read) const;

  StorageReader& reader_;
  Transport& transport_;
  OutlineReader* const outlining_;  // null: metadata come as a whole
  CheckpointIndex index_;
  bool lacks_items_ = false;  // but those that ReadItemsOf has added
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SHARED_INDEX_H_
