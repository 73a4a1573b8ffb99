// CudaPacker: gathers many small copies in device memory, for one transfer.

#ifndef DCP_DEVICE_CUDA_PACKER_H_
#define DCP_DEVICE_CUDA_PACKER_H_

#include <array>
#include <cstddef>
#include <memory>
#include <span>

#include "dcp/device_runtime.h"
#include "device/cuda_contexts.h"
#include "device/pack_piece.h"

namespace dcp {

/// Copies of a batch, and what to do with them.
struct PackRun {
  std::span<const DeviceCopy> copies;
  /// Small neighbors that fit the packed memory together, or one copy that is
  /// better made alone.
  bool is_packed = false;
};

/// The run that `copies`, which are not empty, begin with.
PackRun NextPackRun(std::span<const DeviceCopy> copies);

/// Has the device's context current in every call, and what it enqueues on one
/// stream only. The owner waits for that before it destroys this.
class CudaPacker {
 public:
  /// Packed memory, and so the longest run.
  static constexpr size_t kBufferNbytes = size_t{32} << 20;
  /// Larger copies are fast enough alone.
  static constexpr size_t kMaxCopyNbytes = size_t{1} << 20;
  /// What one block of the kernel copies at most.
  static constexpr size_t kPieceNbytes = size_t{64} << 10;
  /// Of one run.
  static constexpr size_t kMaxPieces = size_t{1} << 16;

  /// Null if this build has no kernel, or the device has no room or no use for
  /// it.
  static std::unique_ptr<CudaPacker> Make(CudaContexts& contexts);
  CudaPacker(const CudaPacker&) = delete;
  CudaPacker& operator=(const CudaPacker&) = delete;
  ~CudaPacker();

  /// Enqueues the copies of a packed run to `host`.
  Status Enqueue(const PackRun& run, std::span<std::byte> host,
                 CuStream stream);

 private:
  /// A table that the kernel reads from host memory, in turns.
  struct Table {
    PackPiece* pieces = nullptr;
    CuEvent is_read = nullptr;
    bool is_in_use = false;
  };

  explicit CudaPacker(CudaContexts& contexts) : contexts_(contexts) {}
  Status Prepare();
  StatusOr<Table*> TakeTable();

  CudaContexts& contexts_;
  CuModule module_ = nullptr;
  CuFunction kernel_ = nullptr;
  CuDevicePtr buffer_ = 0;
  std::array<Table, 4> tables_;
  size_t next_table_ = 0;
};

}  // namespace dcp

#endif  // DCP_DEVICE_CUDA_PACKER_H_
