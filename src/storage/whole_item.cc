#include "storage/whole_item.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/torch_item_reader.h"
#include "storage/tensor_sink.h"

namespace dcp {
namespace {

/// Makes room for an item. A hole in a file may claim any length.
Status Resize(const StoredItem& item, std::string* bytes) {
  try {
    bytes->resize(static_cast<size_t>(item.info.length));
    return absl::OkStatus();
  } catch (const std::bad_alloc&) {
    return ErrnoToStatus(ENOMEM, {.op = "read",
                                  .path = item.path(),
                                  .byte_offset = item.info.offset,
                                  .nbytes = item.info.length,
                                  .fqn = item.index.fqn});
  }
}

/// Serves an item's bytes from memory.
class MemorySource final : public ItemSource {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}

  Status Read(int64_t item_offset, std::span<std::byte> out) override {
    std::memcpy(out.data(), bytes_.data() + item_offset, out.size());
    return absl::OkStatus();
  }

 private:
  std::span<const std::byte> bytes_;
};

/// An item in memory, which may be ours to give away.
class ItemBytes {
 public:
  explicit ItemBytes(std::span<const std::byte> bytes) : bytes_(bytes) {}
  explicit ItemBytes(std::string owned)
      : owned_(std::move(owned)), bytes_(std::as_bytes(std::span(*owned_))) {}
  ItemBytes(const ItemBytes&) = delete;
  ItemBytes& operator=(const ItemBytes&) = delete;

  std::span<const std::byte> span() const { return bytes_; }

  /// Hands `deliver` the bytes for each of the item's reads; they are gone
  /// then.
  template <typename Deliver>
  Status GiveToReads(const StoredItem& item, const Deliver& deliver) {
    for (const ReadItem* read : item.reads) {
      const bool is_last = read == item.reads.back();
      DCP_RETURN_IF_ERROR(
          deliver(*read, is_last && owned_ ? *std::move(owned_) : Copy()));
    }
    return absl::OkStatus();
  }

 private:
  std::string Copy() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

  std::optional<std::string> owned_;
  std::span<const std::byte> bytes_;
};

Status DecodeTensor(const StoredItem& item, ItemBytes& content,
                    const DecodeContext& context) {
  const std::span<const std::byte> bytes = content.span();
  MemorySource source(bytes);
  DCP_ASSIGN_OR_RETURN(
      const TensorItemInfo parsed,
      ParseTensorItem(source, static_cast<int64_t>(bytes.size())));
  if (parsed.needs_torch) {
    return content.GiveToReads(
        item, [&](const ReadItem& read, std::string whole) {
          return context.target.LoadOpaqueTensor(read, std::move(whole));
        });
  }
  if (context.dtype_rule == DTypeRule::kAsRecorded) {
    DCP_RETURN_IF_ERROR(CheckStoredDType(item, parsed));
  }
  DCP_ASSIGN_OR_RETURN(const TensorPlace place,
                       PlaceOfParsedItem(item, parsed));
  DCP_ASSIGN_OR_RETURN(const std::vector<TensorPart> parts,
                       ResolveParts(item, place, context.target));
  const auto data =
      bytes.subspan(static_cast<size_t>(place.data_begin - item.info.offset),
                    static_cast<size_t>(place.data_nbytes));
  for (const TensorPart& part : parts) {
    DCP_RETURN_IF_ERROR(DeliverBytes(place, part, 0, data, context.device));
  }
  return absl::OkStatus();
}

Status Decode(const StoredItem& item, ItemBytes& bytes,
              const DecodeContext& context) {
  Status status =
      context.verify ? VerifyItemCrcs(bytes.span()) : absl::OkStatus();
  if (status.ok() && item.type == LoadItemType::kTensor) {
    status = DecodeTensor(item, bytes, context);
  }
  if (status.code() == absl::StatusCode::kDataLoss) {
    return ItemCorruption(Message(status), item);
  }
  DCP_RETURN_IF_ERROR(status);
  if (item.type == LoadItemType::kTensor) return status;
  return bytes.GiveToReads(item, [&](const ReadItem& read, std::string whole) {
    return context.target.LoadObject(read, std::move(whole));
  });
}

}  // namespace

Status DecodeItem(const StoredItem& item, std::span<const std::byte> bytes,
                  const DecodeContext& context) {
  ItemBytes content(bytes);
  return Decode(item, content, context);
}

Status DecodeItem(const StoredItem& item, std::string bytes,
                  const DecodeContext& context) {
  ItemBytes content(std::move(bytes));
  return Decode(item, content, context);
}

Status WholeItemSink::Write(int64_t begin, std::span<const std::byte> bytes) {
  // Most items arrive in one piece and need no copy.
  if (static_cast<int64_t>(bytes.size()) == item_.info.length) {
    return DecodeItem(item_, bytes, context_);
  }
  std::string complete;
  {
    MutexLock lock(mutex_);
    if (collected_.empty()) {
      DCP_RETURN_IF_ERROR(Resize(item_, &collected_));
    }
    std::memcpy(collected_.data() + (begin - item_.info.offset), bytes.data(),
                bytes.size());
    nbytes_collected_ += static_cast<int64_t>(bytes.size());
    if (nbytes_collected_ < item_.info.length) return absl::OkStatus();
    complete = std::move(collected_);
  }
  return DecodeItem(item_, std::move(complete), context_);
}

}  // namespace dcp
