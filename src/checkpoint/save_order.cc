// An order on the wire (base/wire.h):
//
//   u8 version; rank, world size, coordinator, patience, umask, memory; u8 1
//   if the files are safetensors; what the writer and the save are told; string
//   of the entries (order_entries.cc)

#include "checkpoint/save_order.h"

#include <utility>

#include "base/wire.h"
#include "checkpoint/order_entries.h"
#include "checkpoint/order_fields.h"

namespace dcp {
namespace {

// Trainer and saver come from one installation.
constexpr uint8_t kVersion = 3;

void Put(WireWriter& out, const IoOptions& io) {
  out.PutU8(static_cast<uint8_t>(io.engine));
  out.PutU8(static_cast<uint8_t>(io.direct_io));
  out.PutSigned(io.workers);
  out.PutSigned(io.block_nbytes);
  out.PutSigned(io.max_buffer_nbytes);
  out.PutSigned(io.stall_timeout.count());
  out.PutSigned(io.max_write_rate);
  out.PutSigned(io.placement.nice);
  out.PutVarint(io.placement.cpus.size());
  for (const int cpu : io.placement.cpus) out.PutSigned(cpu);
}

ThreadPlacement GetPlacement(WireReader& in) {
  ThreadPlacement placement{.nice = GetInt(in)};
  placement.cpus.resize(in.Count(1));
  for (int& cpu : placement.cpus) cpu = GetInt(in);
  return placement;
}

IoOptions GetIo(WireReader& in) {
  return {.engine = GetEnum(in, IoEngineKind::kThreads),
          .direct_io = GetEnum(in, DirectIo::kRequire),
          .workers = GetInt(in),
          .block_nbytes = in.Signed(),
          .max_buffer_nbytes = in.Signed(),
          .stall_timeout = Clock::Duration(in.Signed()),
          .max_write_rate = in.Signed(),
          .placement = GetPlacement(in)};
}

void Put(WireWriter& out, const FileSystemWriterOptions& writer) {
  out.PutString(writer.path);
  out.PutString(writer.save_id);
  out.PutString(writer.session_id);
  out.PutFlag(writer.single_file_per_rank);
  out.PutFlag(writer.sync_files);
  out.PutSigned(writer.file_count);
  out.PutFlag(writer.overwrite);
  out.PutU8(static_cast<uint8_t>(writer.compression));
  out.PutFlag(writer.export_dtype.has_value());
  if (writer.export_dtype) {
    out.PutU8(static_cast<uint8_t>(*writer.export_dtype));
  }
  out.PutString(writer.checkpoint_id);
  Put(out, writer.io);
}

FileSystemWriterOptions GetWriter(WireReader& in) {
  FileSystemWriterOptions writer;
  writer.path = in.String();
  writer.save_id = in.String();
  writer.session_id = in.String();
  writer.single_file_per_rank = in.Flag();
  writer.sync_files = in.Flag();
  writer.file_count = GetInt(in);
  writer.overwrite = in.Flag();
  writer.compression = GetEnum(in, Compression::kZstd);
  if (in.Flag()) writer.export_dtype = GetDType(in);
  writer.checkpoint_id = in.String();
  writer.io = GetIo(in);
  return writer;
}

void Put(WireWriter& out, const HuggingFaceWriterOptions& writer) {
  out.PutString(writer.path);
  out.PutVarint(writer.file_numbers.size());
  for (const auto& [fqn, number] : writer.file_numbers) {
    out.PutString(fqn);
    out.PutSigned(number);
  }
  out.PutSigned(writer.max_shard_nbytes);
  out.PutString(writer.file_stem);
  out.PutFlag(writer.export_dtype.has_value());
  if (writer.export_dtype) {
    out.PutU8(static_cast<uint8_t>(*writer.export_dtype));
  }
  out.PutFlag(writer.one_writer_per_file);
  out.PutFlag(writer.file_per_rank);
  out.PutFlag(writer.overwrite);
  out.PutFlag(writer.sync_files);
  out.PutString(writer.save_id);
  out.PutString(writer.session_id);
  Put(out, writer.io);
}

HuggingFaceWriterOptions GetHuggingFaceWriter(WireReader& in) {
  HuggingFaceWriterOptions writer;
  writer.path = in.String();
  for (size_t left = in.Count(2); in.ok() && left > 0; --left) {
    std::string fqn(in.String());
    writer.file_numbers.emplace(std::move(fqn), in.Signed());
  }
  writer.max_shard_nbytes = in.Signed();
  writer.file_stem = in.String();
  if (in.Flag()) writer.export_dtype = GetDType(in);
  writer.one_writer_per_file = in.Flag();
  writer.file_per_rank = in.Flag();
  writer.overwrite = in.Flag();
  writer.sync_files = in.Flag();
  writer.save_id = in.String();
  writer.session_id = in.String();
  writer.io = GetIo(in);
  return writer;
}

}  // namespace

std::string SerializeSaveOrder(const SaveOrder& order,
                               std::span<const SaveEntry> entries,
                               std::span<const std::byte> memory) {
  WireWriter out;
  out.PutU8(kVersion);
  out.PutSigned(order.rank);
  out.PutSigned(order.world_size);
  out.PutSigned(order.coordinator);
  out.PutSigned(order.patience.count());
  out.PutVarint(order.umask);
  out.PutSigned(order.memory_offset);
  out.PutSigned(order.memory_nbytes);
  out.PutU8(static_cast<uint8_t>(order.writer.index()));
  std::visit([&](const auto& writer) { Put(out, writer); }, order.writer);
  out.PutFlag(order.save.dedup_to_lowest_rank);
  out.PutSigned(order.save.split_nbytes);
  out.PutFlag(order.save.record_paths);
  out.PutFlag(order.save.use_collectives);
  out.PutString(SerializeOrderEntries(entries, memory));
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
  if (in.Flag()) {
    order.writer = GetHuggingFaceWriter(in);
  } else {
    order.writer = GetWriter(in);
  }
  order.save.dedup_to_lowest_rank = in.Flag();
  order.save.split_nbytes = in.Signed();
  order.save.record_paths = in.Flag();
  order.save.use_collectives = in.Flag();
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

}  // namespace dcp
