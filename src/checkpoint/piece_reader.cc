#include "checkpoint/piece_reader.h"

#include <memory>
#include <optional>
#include <utility>

#include "dcp/plan.h"

namespace dcp {
namespace {

Status Ask(const std::function<Status()>& proceed) {
  return proceed ? proceed() : absl::OkStatus();
}

/// Delivers to the memory of pieces; ReadItem::destination is the piece.
class PieceTarget final : public ReadTarget {
 public:
  PieceTarget(std::span<const PieceRead> pieces,
              const std::function<Status()>& proceed)
      : pieces_(pieces), proceed_(proceed) {}

  StatusOr<TensorView> ResolveTensor(const ReadItem& item) override {
    const PieceRead& piece = pieces_[static_cast<size_t>(item.destination)];
    return Narrow(
        ContiguousView(piece.memory, piece.tensor->dtype, piece.box.sizes),
        {.offsets = item.dest_offsets, .sizes = item.lengths});
  }
  Status LoadObject(const ReadItem& item, std::string) override {
    return Internal("the object " + item.storage_index.fqn +
                    " came where a tensor was asked for");
  }
  Status LoadOpaqueTensor(const ReadItem& item, std::string) override {
    return NeedsTorch(item.storage_index.fqn);
  }
  Status CommitTensor(const ReadItem&) override { return absl::OkStatus(); }
  Status Proceed() override { return Ask(proceed_); }

 private:
  const std::span<const PieceRead> pieces_;
  const std::function<Status()>& proceed_;
};

/// Takes items as they are stored; ReadItem::destination counts them.
class EncodedTarget final : public ReadTarget {
 public:
  EncodedTarget(size_t count, const std::function<Status()>& proceed)
      : proceed_(proceed), items_(count) {}

  StatusOr<TensorView> ResolveTensor(const ReadItem& item) override {
    return Unimplemented("the tensor " + item.storage_index.fqn +
                         " is not stored as an object, as its dtype says");
  }
  Status LoadObject(const ReadItem& item, std::string object) override {
    const MutexLock lock(mutex_);
    items_[static_cast<size_t>(item.destination)] = std::move(object);
    return absl::OkStatus();
  }
  Status LoadOpaqueTensor(const ReadItem& item, std::string object) override {
    return LoadObject(item, std::move(object));
  }
  Status CommitTensor(const ReadItem&) override { return absl::OkStatus(); }
  Status Proceed() override { return Ask(proceed_); }

  std::vector<std::optional<std::string>> Take() {
    const MutexLock lock(mutex_);
    return std::move(items_);
  }

 private:
  const std::function<Status()>& proceed_;
  Mutex mutex_;
  std::vector<std::optional<std::string>> items_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Status NeedsTorch(const std::string& fqn) {
  return Unimplemented(
      "the tensor " + fqn +
      " is stored in a form that only torch can rebuild (a tensor subclass, "
      "or big-endian data); load and save it with torch");
}

Status PieceReader::ReadPlan(const LoadPlan& plan, ReadTarget& target) {
  const MutexLock lock(mutex_);
  return reader_.ReadData(plan, target);
}

Status PieceReader::Read(std::span<const PieceRead> pieces) {
  LoadPlan plan;
  const SourceTensor* tensor = nullptr;
  std::unique_ptr<ChunkFinder> finder;
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].tensor != tensor) {
      tensor = pieces[i].tensor;
      finder = std::make_unique<ChunkFinder>(*tensor->stored);
    }
    DCP_RETURN_IF_ERROR(AppendReadItems(tensor->fqn, *finder, *tensor->stored,
                                        pieces[i].box, static_cast<int64_t>(i),
                                        &plan));
  }
  PieceTarget target(pieces, proceed_);
  return ReadPlan(plan, target);
}

StatusOr<std::vector<std::string>> PieceReader::ReadObjects(
    std::span<const std::string_view> keys) {
  LoadPlan plan;
  for (const std::string_view key : keys) {
    const MetadataIndex index{.fqn = std::string(key)};
    plan.items.push_back(
        {.type = LoadItemType::kByteIo,
         .dest_index = index,
         .dest_offsets = {0},
         .storage_index = index,
         .storage_offsets = {0},
         .lengths = {0},
         .destination = static_cast<int64_t>(plan.items.size())});
  }
  return ReadItems(plan);
}

StatusOr<std::string> PieceReader::ReadEncoded(const MetadataIndex& index,
                                               const Dims& sizes) {
  const Dims origin = Dims::Filled(sizes.size(), 0);
  LoadPlan plan;
  plan.items.push_back({.dest_index = index,
                        .dest_offsets = origin,
                        .storage_index = index,
                        .storage_offsets = origin,
                        .lengths = sizes});
  DCP_ASSIGN_OR_RETURN(std::vector<std::string> items, ReadItems(plan));
  return std::move(items[0]);
}

StatusOr<std::vector<std::string>> PieceReader::ReadItems(
    const LoadPlan& plan) {
  EncodedTarget target(plan.items.size(), proceed_);
  DCP_RETURN_IF_ERROR(ReadPlan(plan, target));
  std::vector<std::string> items;
  for (std::optional<std::string>& bytes : target.Take()) {
    if (!bytes) {
      return Internal("the reader did not deliver " +
                      ToString(plan.items[items.size()].storage_index));
    }
    items.push_back(*std::move(bytes));
  }
  return items;
}

}  // namespace dcp
