// An order on the wire (base/wire.h):
//
//   u8 version; rank, world size, coordinator, patience, umask, memory; what
//   the writer and the save are told; string of the entries:
//   count, then each: key, path, u8 kind, then
//     kObject   string
//     kTensor   u8 dtype, u8 op, u8 type, u8 requires_grad, dims of sizes,
//               strides, global size and offsets, varint place in the memory
//     kEncoded  the same, and varint length of the bytes there

#include "checkpoint/save_order.h"

#include <optional>
#include <utility>

#include "base/wire.h"

namespace dcp {
namespace {

// Trainer and saver come from one installation.
constexpr uint8_t kVersion = 1;

enum class EntryKind : uint8_t { kObject, kTensor, kEncoded };

template <typename Enum>
Enum GetEnum(WireReader& in, Enum last) {
  const uint8_t value = in.U8();
  if (value > static_cast<uint8_t>(last)) in.Fail();
  return in.ok() ? static_cast<Enum>(value) : Enum{};
}

bool GetBool(WireReader& in) {
  const uint8_t value = in.U8();
  if (value > 1) in.Fail();
  return value == 1;
}

int GetInt(WireReader& in) {
  const int64_t value = in.Signed();
  if (value != static_cast<int>(value)) in.Fail();
  return in.ok() ? static_cast<int>(value) : 0;
}

void PutFlag(WireWriter& out, bool value) { out.PutU8(value ? 1 : 0); }

void Put(WireWriter& out, const IoOptions& io) {
  out.PutU8(static_cast<uint8_t>(io.engine));
  out.PutU8(static_cast<uint8_t>(io.direct_io));
  out.PutSigned(io.workers);
  out.PutSigned(io.block_nbytes);
  out.PutSigned(io.max_buffer_nbytes);
  out.PutSigned(io.stall_timeout.count());
  out.PutSigned(io.max_write_rate);
}

IoOptions GetIo(WireReader& in) {
  return {.engine = GetEnum(in, IoEngineKind::kThreads),
          .direct_io = GetEnum(in, DirectIo::kRequire),
          .workers = GetInt(in),
          .block_nbytes = in.Signed(),
          .max_buffer_nbytes = in.Signed(),
          .stall_timeout = Clock::Duration(in.Signed()),
          .max_write_rate = in.Signed()};
}

void Put(WireWriter& out, const FileSystemWriterOptions& writer) {
  out.PutString(writer.path);
  out.PutString(writer.save_id);
  out.PutString(writer.session_id);
  PutFlag(out, writer.single_file_per_rank);
  PutFlag(out, writer.sync_files);
  out.PutSigned(writer.file_count);
  PutFlag(out, writer.overwrite);
  out.PutU8(static_cast<uint8_t>(writer.compression));
  PutFlag(out, writer.export_dtype.has_value());
  if (writer.export_dtype) {
    out.PutU8(static_cast<uint8_t>(*writer.export_dtype));
  }
  out.PutString(writer.checkpoint_id);
  Put(out, writer.io);
}

DType GetDType(WireReader& in) {
  const std::optional<DType> dtype = DTypeFromCode(in.U8());
  if (!dtype) in.Fail();
  return dtype.value_or(DType::kUInt8);
}

FileSystemWriterOptions GetWriter(WireReader& in) {
  FileSystemWriterOptions writer;
  writer.path = in.String();
  writer.save_id = in.String();
  writer.session_id = in.String();
  writer.single_file_per_rank = GetBool(in);
  writer.sync_files = GetBool(in);
  writer.file_count = GetInt(in);
  writer.overwrite = GetBool(in);
  writer.compression = GetEnum(in, Compression::kZstd);
  if (GetBool(in)) writer.export_dtype = GetDType(in);
  writer.checkpoint_id = in.String();
  writer.io = GetIo(in);
  return writer;
}

void PutPath(WireWriter& out, const ObjectPath& path) {
  out.PutVarint(path.size());
  for (const PathItem& item : path) {
    const auto* index = std::get_if<int64_t>(&item);
    PutFlag(out, index != nullptr);
    if (index != nullptr) {
      out.PutSigned(*index);
    } else {
      out.PutString(std::get<std::string>(item));
    }
  }
}

ObjectPath GetPath(WireReader& in) {
  ObjectPath path;
  for (size_t left = in.Count(2); in.ok() && left > 0; --left) {
    if (GetBool(in)) {
      path.emplace_back(in.Signed());
    } else {
      path.emplace_back(std::string(in.String()));
    }
  }
  return path;
}

/// Where `data` lies in `memory`; 0 for a tensor without elements.
uint64_t PlaceOf(const void* data, std::span<const std::byte> memory) {
  const auto place = reinterpret_cast<uintptr_t>(data) -
                     reinterpret_cast<uintptr_t>(memory.data());
  return place <= memory.size() ? place : 0;
}

void PutTensor(WireWriter& out, const TensorShard& shard,
               std::span<const std::byte> memory) {
  const TensorView& view = shard.view;
  out.PutU8(static_cast<uint8_t>(shard.encoded ? EntryKind::kEncoded
                                               : EntryKind::kTensor));
  out.PutU8(static_cast<uint8_t>(view.dtype));
  out.PutU8(static_cast<uint8_t>(view.op));
  out.PutU8(static_cast<uint8_t>(shard.type));
  PutFlag(out, shard.requires_grad);
  out.PutDims(view.sizes);
  out.PutDims(view.strides);
  out.PutDims(shard.global_size);
  out.PutDims(shard.offsets);
  const void* data = view.data;
  if (shard.encoded) data = shard.encoded->data();
  out.PutVarint(PlaceOf(data, memory));
  if (shard.encoded) out.PutVarint(shard.encoded->size());
}

/// Whether all elements of `view`, the first of which is `place` bytes after
/// the beginning, lie in `nbytes` bytes.
bool LiesIn(const TensorView& view, uint64_t place, size_t nbytes) {
  if (view.strides.size() != view.sizes.size()) return false;
  const std::optional<int64_t> numel = CheckedNumel(view.sizes);
  if (!numel || *numel == 0) return numel.has_value();
  __int128 first = 0;
  __int128 last = 1;
  for (int d = 0; d < view.sizes.size(); ++d) {
    // Both are below 2^63, and there are 64 of them at most.
    const __int128 reach =
        static_cast<__int128>(view.sizes[d] - 1) * view.strides[d];
    constexpr __int128 kMost = __int128{1} << 64;
    if (reach > kMost || reach < -kMost) return false;
    (reach < 0 ? first : last) += reach;
  }
  const auto item = static_cast<__int128>(ItemSize(view.dtype));
  const auto begin = static_cast<__int128>(place);
  return begin + first * item >= 0 &&
         begin + last * item <= static_cast<__int128>(nbytes);
}

TensorShard GetTensor(WireReader& in, EntryKind kind,
                      std::span<std::byte> memory) {
  TensorShard shard;
  shard.view.dtype = GetDType(in);
  shard.view.op = GetEnum(in, ElementOp::kNeg);
  shard.type = GetEnum(in, WriteItemType::kShard);
  if (shard.type < WriteItemType::kTensor) in.Fail();
  shard.requires_grad = GetBool(in);
  shard.view.sizes = in.GetDims();
  shard.view.strides = in.GetDims();
  shard.global_size = in.GetDims();
  shard.offsets = in.GetDims();
  const uint64_t place = in.Varint();
  if (place > memory.size()) in.Fail();
  if (!in.ok()) return {};
  shard.view.data = memory.data() + place;
  if (kind == EntryKind::kTensor) {
    if (!LiesIn(shard.view, place, memory.size())) in.Fail();
    return shard;
  }
  const uint64_t nbytes = in.Varint();
  if (nbytes > memory.size() - place) in.Fail();
  if (!in.ok()) return {};
  shard.encoded = std::string_view(
      reinterpret_cast<const char*>(memory.data() + place), nbytes);
  return shard;
}

SaveEntry GetEntry(WireReader& in, std::span<std::byte> memory) {
  SaveEntry entry{.fqn = std::string(in.String()), .path = GetPath(in)};
  const auto kind = GetEnum(in, EntryKind::kEncoded);
  if (kind == EntryKind::kObject) {
    entry.value = SerializedObject{OwnedView{.view = in.String()}};
  } else {
    entry.value = GetTensor(in, kind, memory);
  }
  return entry;
}

}  // namespace

std::string SerializeSaveOrder(const SaveOrder& order,
                               std::span<const SaveEntry> entries,
                               std::span<const std::byte> memory) {
  WireWriter list;
  list.PutVarint(entries.size());
  for (const SaveEntry& entry : entries) {
    list.PutString(entry.fqn);
    PutPath(list, entry.path);
    if (const auto* shard = std::get_if<TensorShard>(&entry.value)) {
      PutTensor(list, *shard, memory);
    } else {
      list.PutU8(static_cast<uint8_t>(EntryKind::kObject));
      list.PutString(std::get<SerializedObject>(entry.value).view());
    }
  }
  WireWriter out;
  out.PutU8(kVersion);
  out.PutSigned(order.rank);
  out.PutSigned(order.world_size);
  out.PutSigned(order.coordinator);
  out.PutSigned(order.patience.count());
  out.PutVarint(order.umask);
  out.PutSigned(order.memory_offset);
  out.PutSigned(order.memory_nbytes);
  Put(out, order.writer);
  PutFlag(out, order.save.dedup_to_lowest_rank);
  out.PutSigned(order.save.split_nbytes);
  PutFlag(out, order.save.record_paths);
  PutFlag(out, order.save.use_collectives);
  out.PutString(list.data());
  return std::move(out).Take();
}

StatusOr<ParsedSaveOrder> ParseSaveOrder(std::string_view data) {
  WireReader in(data, "an order to save");
  if (in.U8() != kVersion) {
    return FailedPrecondition(
        "an order to save of another version: dcpcpp_saver must be of the same "
        "installation as the library");
  }
  ParsedSaveOrder parsed;
  SaveOrder& order = parsed.order;
  order.rank = GetInt(in);
  order.world_size = GetInt(in);
  order.coordinator = GetInt(in);
  order.patience = Clock::Duration(in.Signed());
  order.umask = static_cast<mode_t>(in.Varint() & 0777);
  order.memory_offset = in.Signed();
  order.memory_nbytes = in.Signed();
  order.writer = GetWriter(in);
  order.save.dedup_to_lowest_rank = GetBool(in);
  order.save.split_nbytes = in.Signed();
  order.save.record_paths = GetBool(in);
  order.save.use_collectives = GetBool(in);
  parsed.entries = in.String();
  const auto is_rank = [&](int rank) {
    return rank >= 0 && rank < order.world_size;
  };
  if (!is_rank(order.rank) || !is_rank(order.coordinator) ||
      order.memory_offset < 0 || order.memory_nbytes < 0) {
    in.Fail();
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return parsed;
}

StatusOr<std::vector<SaveEntry>> ParseOrderEntries(
    std::string_view data, std::span<std::byte> memory) {
  WireReader in(data, "the entries of an order to save");
  const size_t count = in.Count(3);
  std::vector<SaveEntry> entries;
  for (size_t i = 0; in.ok() && i < count; ++i) {
    entries.push_back(GetEntry(in, memory));
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return entries;
}

}  // namespace dcp
