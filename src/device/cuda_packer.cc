// 1. The packed memory is an image of the host memory that a run goes to, gaps
//    included: one transfer brings all of it.
// 2. There is one packed memory. The stream orders the kernel of a run behind
//    the transfer of the one before; the kernel is some 20 times as fast.
// 3. The kernel reads its table from pinned host memory, some time later. So
//    there are several tables, and one is filled again when its event says that
//    it was read.

#include "device/cuda_packer.h"

#include <algorithm>

#include "device/pack_image.h"

namespace dcp {
namespace {

constexpr unsigned kThreads = 256;

size_t PieceCount(const DeviceCopy& copy) {
  return (copy.nbytes + CudaPacker::kPieceNbytes - 1) /
         CudaPacker::kPieceNbytes;
}

/// Fills `pieces` and returns how many there are.
size_t CutIntoPieces(std::span<const DeviceCopy> copies, PackPiece* pieces) {
  size_t count = 0;
  for (const DeviceCopy& copy : copies) {
    const auto from = reinterpret_cast<uint64_t>(copy.device_data);
    const size_t to = copy.offset - copies.front().offset;
    for (size_t at = 0; at < copy.nbytes; at += CudaPacker::kPieceNbytes) {
      pieces[count++] = {
          .from = from + at,
          .to = to + at,
          .nbytes = std::min(CudaPacker::kPieceNbytes, copy.nbytes - at)};
    }
  }
  return count;
}

}  // namespace

PackRun NextPackRun(std::span<const DeviceCopy> copies) {
  const size_t begin = copies.front().offset;
  size_t count = 0;
  size_t pieces = 0;
  for (const DeviceCopy& copy : copies) {
    pieces += PieceCount(copy);
    if (copy.nbytes > CudaPacker::kMaxCopyNbytes ||
        copy.offset + copy.nbytes - begin > CudaPacker::kBufferNbytes ||
        pieces > CudaPacker::kMaxPieces) {
      break;
    }
    ++count;
  }
  if (count < 2) return {.copies = copies.first(1)};
  return {.copies = copies.first(count), .is_packed = true};
}

std::unique_ptr<CudaPacker> CudaPacker::Make(CudaContexts& contexts) {
  if (PackImage() == nullptr) return nullptr;
  std::unique_ptr<CudaPacker> packer(new CudaPacker(contexts));
  if (!packer->Prepare().ok()) return nullptr;  // the other way is always there
  return packer;
}

Status CudaPacker::Prepare() {
  const CudaDriverApi& api = contexts_.api();
  const auto check = [&](CuResult result, const char* call) {
    return contexts_.Check(result, call);
  };
  DCP_RETURN_IF_ERROR(
      check(api.module_load_data(&module_, PackImage()), "cuModuleLoadData"));
  DCP_RETURN_IF_ERROR(
      check(api.module_get_function(&kernel_, module_, "dcp_pack"),
            "cuModuleGetFunction"));
  DCP_RETURN_IF_ERROR(
      check(api.mem_alloc(&buffer_, kBufferNbytes), "cuMemAlloc"));
  for (Table& table : tables_) {
    void* memory = nullptr;
    DCP_RETURN_IF_ERROR(
        check(api.mem_alloc_host(&memory, kMaxPieces * sizeof(PackPiece)),
              "cuMemAllocHost"));
    table.pieces = static_cast<PackPiece*>(memory);
    DCP_RETURN_IF_ERROR(
        check(api.event_create(&table.is_read,
                               kCuEventBlockingSync | kCuEventDisableTiming),
              "cuEventCreate"));
  }
  return absl::OkStatus();
}

CudaPacker::~CudaPacker() {
  const CudaDriverApi& api = contexts_.api();
  for (const Table& table : tables_) {
    if (table.is_read != nullptr) api.event_destroy(table.is_read);
    if (table.pieces != nullptr) api.mem_free_host(table.pieces);
  }
  if (buffer_ != 0) api.mem_free(buffer_);
  if (module_ != nullptr) api.module_unload(module_);
}

StatusOr<CudaPacker::Table*> CudaPacker::TakeTable() {
  Table& table = tables_[next_table_];
  next_table_ = (next_table_ + 1) % tables_.size();
  if (table.is_in_use) {
    DCP_RETURN_IF_ERROR(
        contexts_.Check(contexts_.api().event_synchronize(table.is_read),
                        "cuEventSynchronize"));
  }
  table.is_in_use = true;
  return &table;
}

Status CudaPacker::Enqueue(const PackRun& run, std::span<std::byte> host,
                           CuStream stream) {
  const CudaDriverApi& api = contexts_.api();
  DCP_ASSIGN_OR_RETURN(Table* const table, TakeTable());
  const size_t count = CutIntoPieces(run.copies, table->pieces);
  void* parameters[] = {reinterpret_cast<void*>(&table->pieces), &buffer_};
  DCP_RETURN_IF_ERROR(contexts_.Check(
      api.launch_kernel(kernel_, static_cast<unsigned>(count), 1, 1, kThreads,
                        1, 1, 0, stream, parameters, nullptr),
      "cuLaunchKernel"));
  DCP_RETURN_IF_ERROR(contexts_.Check(api.event_record(table->is_read, stream),
                                      "cuEventRecord"));
  const size_t begin = run.copies.front().offset;
  const size_t end = run.copies.back().offset + run.copies.back().nbytes;
  return contexts_.Check(
      api.memcpy_dtoh_async(host.data() + begin, buffer_, end - begin, stream),
      "cuMemcpyDtoHAsync");
}

}  // namespace dcp
