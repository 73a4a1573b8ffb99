// FakeRing: a kernel that answers as a test likes, over files in memory.

#ifndef DCP_TESTS_IO_FAKE_RING_H_
#define DCP_TESTS_IO_FAKE_RING_H_

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dcp/file_system.h"
#include "io/ring.h"

namespace dcp::testing {

/// A file with descriptors that only a FakeRing knows. The File's own methods,
/// to which an engine resorts, work too and are counted.
class FakeFile final : public File {
 public:
  /// `fd` is buffered, `fd` + 1 is direct if `alignment` is given.
  FakeFile(int fd, std::string content,
           std::optional<DirectIoAlignment> alignment)
      : fd_(fd), bytes(std::move(content)), alignment_(alignment) {}

  const std::string& path() const override { return path_; }
  Status ReadFully(int64_t byte_offset,
                   std::span<const IoSlice> slices) override;
  StatusOr<int64_t> ReadCached(int64_t, std::span<const IoSlice>) override {
    return 0;
  }
  Status WriteFully(int64_t byte_offset,
                    std::span<const IoSlice> slices) override;
  StatusOr<int64_t> Size() override {
    return static_cast<int64_t>(bytes.size());
  }
  Status Truncate(int64_t) override { return absl::OkStatus(); }
  Status Allocate(int64_t) override { return absl::OkStatus(); }
  Status Sync() override { return absl::OkStatus(); }
  Status Close() override { return absl::OkStatus(); }
  std::optional<DirectIoAlignment> direct_io() const override {
    return alignment_;
  }
  int fd() const override { return fd_; }
  int direct_fd() const override { return alignment_ ? fd_ + 1 : -1; }

 private:
  const std::string path_ = "fake";
  const int fd_;

 public:
  std::string bytes;
  int own_calls = 0;

 private:
  const std::optional<DirectIoAlignment> alignment_;
};

/// What the fake kernel may do, as chances from 0 to 1.
struct FakeRingOptions {
  uint64_t seed = 0;
  double short_transfer = 0;
  double transient = 0;      ///< EAGAIN, EINTR or EBUSY as a result
  double refuse_direct = 0;  ///< EINVAL although aligned
  double refuse_start = 0;   ///< EBUSY or EAGAIN from Start()
  double nothing_ready = 0;  ///< Next(kNo) finds nothing
  /// Overrides the above for an entry: a result, or nullopt.
  std::function<std::optional<int64_t>(const RingEntry&)> result;
};

/// Answers one started entry at a time, whichever. Checks what a kernel would:
/// room, alignment, registered buffers.
class FakeRing final : public Ring {
 public:
  FakeRing(size_t entries, FakeRingOptions options)
      : entries_(entries),
        options_(std::move(options)),
        random_(options_.seed) {}

  void Add(FakeFile& file) { files_[file.fd()] = &file; }

  bool RegisterBuffer(int index, const iovec& buffer) override;
  int Start(const RingEntry& entry) override;
  StatusOr<std::optional<RingEvent>> Next(RingWait wait) override;

  /// What the engine did wrong; empty if nothing.
  const std::string& complaint() const { return complaint_; }

 private:
  bool Happens(double chance) {
    return std::bernoulli_distribution(chance)(random_);
  }
  int64_t ResultOf(const RingEntry& entry);
  int64_t Move(const RingEntry& entry, FakeFile& file, int64_t nbytes);
  void CheckEntry(const RingEntry& entry);

  const size_t entries_;
  const FakeRingOptions options_;
  std::mt19937_64 random_;
  std::map<int, FakeFile*> files_;
  std::vector<RingEntry> started_;
  std::vector<iovec> registered_;
  std::string complaint_;
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_IO_FAKE_RING_H_
