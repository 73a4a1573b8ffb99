#include "raw_device.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace dcp::benchmarks {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr int64_t kAlignment = 4096;
constexpr size_t kHugePage = size_t{2} << 20;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

std::string PathOf(const RawDeviceOptions& options, int file) {
  const std::string name = options.names.empty()
                               ? "raw-" + std::to_string(file)
                               : options.names[static_cast<size_t>(file)];
  return JoinPath(options.directory, name);
}

/// The options with sizes that come out even: whole blocks, equal files.
StatusOr<RawDeviceOptions> Rounded(RawDeviceOptions options) {
  if (!options.names.empty()) {
    options.files = static_cast<int>(options.names.size());
  }
  if (options.block_nbytes <= 0 || options.block_nbytes % kAlignment != 0 ||
      options.files <= 0 || options.nbytes / options.files < kAlignment) {
    return InvalidArgument(
        "block_nbytes must be a multiple of 4096, and each file at least as "
        "large");
  }
  const int64_t file_nbytes = options.nbytes / options.files;
  options.block_nbytes =
      std::min(options.block_nbytes, file_nbytes / kAlignment * kAlignment);
  options.nbytes =
      file_nbytes / options.block_nbytes * options.block_nbytes * options.files;
  return options;
}

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

/// One block of memory per request in flight, every page touched.
class Slots {
 public:
  Slots(int count, int64_t block_nbytes) {
    const auto block = static_cast<size_t>(block_nbytes);
    const size_t total = static_cast<size_t>(count) * block;
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(
        kHugePage, (total + kHugePage - 1) / kHugePage * kHugePage)));
    if (memory_ == nullptr) return;
    // The limit is the device's, not that of scattered 4 KiB pages.
    madvise(memory_.get(), total, MADV_HUGEPAGE);
    std::memset(memory_.get(), 0x5a, total);
    for (size_t at = 0; at < total; at += block) {
      slices_.push_back({memory_.get() + at, block});
    }
  }

  bool ok() const { return memory_ != nullptr; }
  const std::vector<IoSlice>& slices() const { return slices_; }

  void Stamp(size_t slot, int64_t block) {
    std::memcpy(slices_[slot].data, &block, sizeof block);
  }
  bool HasStamp(size_t slot, int64_t block) const {
    return std::memcmp(slices_[slot].data, &block, sizeof block) == 0;
  }

 private:
  std::unique_ptr<std::byte, FreeDeleter> memory_;
  std::vector<IoSlice> slices_;
};

/// One thread's part of a measured pass: all blocks of the files from
/// `first_file` on, options.files in number.
class Pass {
 public:
  Pass(const RawDeviceOptions& options, int first_file, IoOp op,
       std::unique_ptr<IoEngine> engine)
      : options_(options),
        first_file_(first_file),
        op_(op),
        slots_(engine->queue_depth(), options.block_nbytes),
        engine_(std::move(engine)) {}

  StatusOr<RawDeviceResult> Run(FileSystem& fs);

 private:
  int64_t file_nbytes() const { return options_.nbytes / options_.files; }
  Status OpenAll(FileSystem& fs);
  Status TransferAll();
  Status Start(size_t slot, int64_t block);
  /// Waits for one transfer; returns its slot.
  StatusOr<size_t> TakeOne();
  Status SyncAll(FileSystem& fs);

  const RawDeviceOptions options_;
  const int first_file_;
  const IoOp op_;
  Slots slots_;
  std::vector<int64_t> block_of_slot_;
  std::vector<std::unique_ptr<File>> files_;
  const std::unique_ptr<IoEngine> engine_;  // goes before memory and files
};

StatusOr<RawDeviceResult> Pass::Run(FileSystem& fs) {
  if (!slots_.ok()) {
    return MakeStatus(absl::StatusCode::kResourceExhausted,
                      "no memory for the blocks in flight");
  }
  block_of_slot_.assign(slots_.slices().size(), -1);
  RawDeviceResult result{.nbytes = options_.nbytes,
                         .engine = std::string(engine_->name())};
  if (options_.registration == BufferRegistration::kTry) {
    result.registered = std::all_of(
        slots_.slices().begin(), slots_.slices().end(),
        [this](const IoSlice& slot) { return engine_->RegisterBuffer(slot); });
  }
  const auto start = SteadyClock::now();
  DCP_RETURN_IF_ERROR(OpenAll(fs));
  result.direct = files_.front()->direct_io().has_value();
  DCP_RETURN_IF_ERROR(TransferAll());
  const auto written = SteadyClock::now();
  if (op_ == IoOp::kWrite && options_.sync == SyncMode::kSync) {
    DCP_RETURN_IF_ERROR(SyncAll(fs));
  }
  result.sync_seconds = SecondsSince(written);
  for (const auto& file : files_) DCP_RETURN_IF_ERROR(file->Close());
  result.seconds = SecondsSince(start);
  return result;
}

Status Pass::OpenAll(FileSystem& fs) {
  const OpenOptions open{
      .mode = op_ == IoOp::kRead ? OpenMode::kRead : OpenMode::kCreateNew,
      .direct_io = options_.direct_io};
  const bool allocates = op_ == IoOp::kWrite &&
                         options_.preallocation == Preallocation::kWholeFile;
  for (int i = 0; i < options_.files; ++i) {
    DCP_ASSIGN_OR_RETURN(auto file,
                         fs.Open(PathOf(options_, first_file_ + i), open));
    if (allocates) DCP_RETURN_IF_ERROR(file->Allocate(file_nbytes()));
    files_.push_back(std::move(file));
  }
  return absl::OkStatus();
}

Status Pass::TransferAll() {
  const int64_t blocks = options_.nbytes / options_.block_nbytes;
  const auto depth = static_cast<int64_t>(slots_.slices().size());
  for (int64_t block = 0; block < blocks; ++block) {
    auto slot = static_cast<size_t>(block);
    if (block >= depth) {
      DCP_ASSIGN_OR_RETURN(slot, TakeOne());
    }
    DCP_RETURN_IF_ERROR(Start(slot, block));
  }
  for (int64_t i = 0; i < std::min(blocks, depth); ++i) {
    DCP_RETURN_IF_ERROR(TakeOne().status());
  }
  return absl::OkStatus();
}

Status Pass::Start(size_t slot, int64_t block) {
  if (op_ == IoOp::kWrite) slots_.Stamp(slot, block);
  block_of_slot_[slot] = block;
  const auto file = static_cast<size_t>(block % options_.files);
  return engine_->Submit(
      {.op = op_,
       .file = files_[file].get(),
       .byte_offset = block / options_.files * options_.block_nbytes,
       .slices = {&slots_.slices()[slot], 1},
       .tag = slot});
}

StatusOr<size_t> Pass::TakeOne() {
  DCP_ASSIGN_OR_RETURN(const IoCompletion completion, engine_->Wait());
  DCP_RETURN_IF_ERROR(completion.status);
  const size_t slot = completion.tag;
  if (options_.names.empty() && !slots_.HasStamp(slot, block_of_slot_[slot])) {
    return DataLoss("block " + std::to_string(block_of_slot_[slot]) +
                    " came back as another one");
  }
  return slot;
}

Status Pass::SyncAll(FileSystem& fs) {
  for (const auto& file : files_) DCP_RETURN_IF_ERROR(file->Sync());
  return fs.SyncDirectory(options_.directory);
}

/// Splits the files between as many threads as there are to be.
StatusOr<std::vector<std::unique_ptr<Pass>>> MakePasses(
    RawDeviceOptions options, IoOp op) {
  const int threads = options.direct_io == DirectIo::kOff ? options.files : 1;
  options.nbytes /= threads;
  options.files /= threads;
  std::vector<std::unique_ptr<Pass>> passes;
  for (int i = 0; i < threads; ++i) {
    DCP_ASSIGN_OR_RETURN(auto engine, MakeIoEngine(options.engine));
    passes.push_back(std::make_unique<Pass>(options, i * options.files, op,
                                            std::move(engine)));
  }
  return passes;
}

StatusOr<RawDeviceResult> RunPasses(FileSystem& fs,
                                    const RawDeviceOptions& options, IoOp op) {
  DCP_ASSIGN_OR_RETURN(const RawDeviceOptions rounded, Rounded(options));
  DCP_ASSIGN_OR_RETURN(const auto passes, MakePasses(rounded, op));
  if (rounded.before_start) rounded.before_start();
  if (passes.size() == 1) return passes[0]->Run(fs);
  const auto start = SteadyClock::now();
  std::vector<StatusOr<RawDeviceResult>> results(passes.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < passes.size(); ++i) {
    threads.emplace_back([&, i] { results[i] = passes[i]->Run(fs); });
  }
  for (std::thread& thread : threads) thread.join();
  RawDeviceResult all{.seconds = SecondsSince(start)};
  for (const auto& result : results) {
    DCP_RETURN_IF_ERROR(result.status());
    all.nbytes += result->nbytes;
    all.sync_seconds = std::max(all.sync_seconds, result->sync_seconds);
    all.engine = result->engine;
  }
  return all;
}

/// Makes the kernel forget the clean pages of the files.
Status DropFromCache(FileSystem& fs, const RawDeviceOptions& options) {
  for (int i = 0; i < options.files; ++i) {
    DCP_ASSIGN_OR_RETURN(const auto file, fs.Open(PathOf(options, i), {}));
    if (file->fd() < 0) continue;
    const int error = ::posix_fadvise(file->fd(), 0, 0, POSIX_FADV_DONTNEED);
    if (error != 0) {
      return ErrnoToStatus(error,
                           {.op = "posix_fadvise", .path = file->path()});
    }
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<RawDeviceResult> WriteRaw(FileSystem& fs,
                                   const RawDeviceOptions& options) {
  return RunPasses(fs, options, IoOp::kWrite);
}

StatusOr<RawDeviceResult> ReadRaw(FileSystem& fs,
                                  const RawDeviceOptions& options) {
  if (options.page_cache == PageCache::kCold) {
    DCP_RETURN_IF_ERROR(DropFromCache(fs, options));
  }
  return RunPasses(fs, options, IoOp::kRead);
}

Status RemoveRaw(FileSystem& fs, const RawDeviceOptions& options) {
  for (int i = 0; i < options.files; ++i) {
    DCP_RETURN_IF_ERROR(fs.Remove(PathOf(options, i)));
  }
  return absl::OkStatus();
}

}  // namespace dcp::benchmarks
