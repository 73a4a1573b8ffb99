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
    return Unimplemented(
        "the tensor " + item.storage_index.fqn +
        " is stored in a form that only torch can rebuild (a tensor subclass, "
        "or big-endian data); load and save it with torch");
  }
  Status CommitTensor(const ReadItem&) override { return absl::OkStatus(); }
  Status Proceed() override { return Ask(proceed_); }

 private:
  const std::span<const PieceRead> pieces_;
  const std::function<Status()>& proceed_;
};

/// Takes one item as it is stored.
class EncodedTarget final : public ReadTarget {
 public:
  explicit EncodedTarget(const std::function<Status()>& proceed)
      : proceed_(proceed) {}

  StatusOr<TensorView> ResolveTensor(const ReadItem& item) override {
    return Unimplemented("the tensor " + item.storage_index.fqn +
                         " is not stored as an object, which its dtype says");
  }
  Status LoadObject(const ReadItem&, std::string object) override {
    bytes_ = std::move(object);
    return absl::OkStatus();
  }
  Status LoadOpaqueTensor(const ReadItem&, std::string object) override {
    bytes_ = std::move(object);
    return absl::OkStatus();
  }
  Status CommitTensor(const ReadItem&) override { return absl::OkStatus(); }
  Status Proceed() override { return Ask(proceed_); }

  std::optional<std::string> Take() { return std::move(bytes_); }

 private:
  const std::function<Status()>& proceed_;
  std::optional<std::string> bytes_;
};

}  // namespace

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

StatusOr<std::string> PieceReader::ReadEncoded(const MetadataIndex& index,
                                               LoadItemType type,
                                               const Dims& sizes) {
  const Dims origin = Dims::Filled(sizes.size(), 0);
  LoadPlan plan;
  plan.items.push_back({.type = type,
                        .dest_index = index,
                        .dest_offsets = origin,
                        .storage_index = index,
                        .storage_offsets = origin,
                        .lengths = sizes});
  EncodedTarget target(proceed_);
  DCP_RETURN_IF_ERROR(ReadPlan(plan, target));
  std::optional<std::string> bytes = target.Take();
  if (!bytes) return Internal("the reader did not deliver " + ToString(index));
  return *std::move(bytes);
}

}  // namespace dcp
