// Hugging Face safetensors as a storage, and readers that know formats apart.

#ifndef DCP_HUGGING_FACE_STORAGE_H_
#define DCP_HUGGING_FACE_STORAGE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "dcp/dtype.h"
#include "dcp/filesystem_storage.h"
#include "dcp/storage.h"

namespace dcp {

struct HuggingFaceWriterOptions {
  /// The checkpoint directory, on a file system that all ranks share; created
  /// if absent.
  std::string path;
  /// Tensor -> number of its file, from 1, as torch's fqn_to_index_mapping.
  /// Empty: files are filled in the order of tensors.
  std::map<std::string, int64_t> file_numbers;
  /// Bytes of tensors in one file, without `file_numbers`. A tensor that is
  /// larger has a file of its own.
  int64_t max_shard_nbytes = 5'000'000'000;
  /// What the names of files begin with: "model", or "diffusion_pytorch_model"
  /// as diffusers has it. Not of files of ranks.
  std::string file_stem = "model";
  /// Floating-point tensors are stored in this dtype.
  std::optional<DType> export_dtype;
  /// For file systems to which several clients cannot write one file: each file
  /// has one writer, to whom the others send their parts.
  bool one_writer_per_file = false;
  /// Every rank writes files of its own, with what it holds of the tensors, as
  /// torch's HuggingFaceStorageWriter does with save_distributed:
  /// `shard-<rank + 1>-model-00001-of-00001.safetensors`, and more of them with
  /// `file_numbers`. Readers of DCP take them; transformers does not.
  bool file_per_rank = false;
  /// Whether a safetensors checkpoint that is there may be replaced.
  bool overwrite = true;
  /// Data and names are durable before the save returns.
  bool sync_files = true;
  /// See FileSystemWriterOptions, also for what follows.
  std::string save_id;
  std::string session_id;
  IoOptions io;
};

/// Writes the final safetensors files in one pass, whatever the sharding:
/// `model.safetensors`, or `model-00001-of-0000N.safetensors` with an index,
/// `model.safetensors.index.json`; with `file_stem` instead of "model".
/// All ranks write into them; what one rank holds in pieces that are too small
/// to be written for themselves goes over a connection to the rank that writes
/// that part of the file (src/storage/shared_part.h).
///
/// There is one publication, as in the native format (src/checkpoint/
/// COMMIT.md). A save by single ranks (use_collectives off) is an error.
/// \error kInvalidArgument  an entry that is no tensor, or of a dtype that
///     safetensors has not; before anything is written
/// \error kFailedPrecondition  a native checkpoint is there; with
///     `file_per_rank`, safetensors files are that no save replaces; with a
///     `file_stem`, others that it cannot replace in one step
/// \error kUnimplemented  with `file_per_rank`, a checkpoint is there, and the
///     file system cannot exchange directories
std::unique_ptr<StorageWriter> MakeHuggingFaceWriter(
    HuggingFaceWriterOptions options, StorageEnvironment environment = {});

/// How quantized weights become floats: see MakeHuggingFaceReader.
struct DequantizeOptions {
  /// What they are read as. A load converts that to the destination's dtype.
  DType target_dtype = DType::kFloat32;
  /// Rows and columns of the blocks that share a scale.
  int64_t block_size = 128;
};

struct HuggingFaceReaderOptions {
  /// A directory with `*.safetensors` files and maybe an index; a snapshot in a
  /// hub cache too.
  std::string path;
  /// Only this file of the directory, by its header alone: neither an index nor
  /// checksums are looked at.
  std::optional<std::string> only_file;
  /// Unset: quantized weights are read as they are stored.
  std::optional<DequantizeOptions> dequantize;
  /// Files that dcp wrote are checked against its CRC-32s as they are read.
  bool verify = true;
  IoOptions io;
};

/// Reads safetensors files: a single one, those that an index lists, or the
/// files of single ranks (HuggingFaceWriterOptions::file_per_rank, torch's
/// save_distributed). Nothing is mapped: what is needed is read in large
/// pieces.
///
/// Headers are checked as the reference implementation checks them, and more
/// strictly where a name is there twice. What dcp wrote has checksums in a file
/// of their own, by which every byte that is read is checked; the files of
/// others have none. Keys are flat: `planner_data` is absent.
///
/// With `dequantize`, the matrices "x.weight" that have scales
/// "x.weight_scale_inv" (DeepSeek-V3), and "x_blocks" with "x_scales" (gpt-oss:
/// MXFP4, of which [..., G, B] bytes become [..., G * B * 2] elements), are
/// read as floats, with torch's results. Only the scales that are needed are
/// read. \error kUnimplemented, kDataLoss  from ReadIndex: scales that do not
/// fit
std::unique_ptr<StorageReader> MakeHuggingFaceReader(
    HuggingFaceReaderOptions options, StorageEnvironment environment = {});

/// How a save would replace a safetensors checkpoint in the directory `path`,
/// for logs: "exchange of directories", or "save id names" and why. Makes a
/// directory beside it for a moment. \error kNotFound  there is no such
/// directory
StatusOr<std::string> DescribeSafetensorsOverwrite(
    const std::string& path, StorageEnvironment environment = {});

/// Reads what it finds at `options.path`: the native format, or safetensors.
/// The coordinator looks, and tells the other ranks.
/// \error kInvalidArgument  from ReadIndex: the directory holds both
std::unique_ptr<StorageReader> MakeReaderByContent(
    FileSystemReaderOptions options, StorageEnvironment environment = {});

}  // namespace dcp

#endif  // DCP_HUGGING_FACE_STORAGE_H_
