#include "testing/direct_file_system.h"

#include <utility>

#include "io/direct_io.h"

namespace dcp::testing {

class DirectFileSystem::DirectFile final : public File {
 public:
  DirectFile(DirectFileSystem& owner, std::unique_ptr<File> base)
      : owner_(owner), base_(std::move(base)) {}

  const std::string& path() const override { return base_->path(); }
  Status ReadFully(int64_t byte_offset,
                   std::span<const IoSlice> slices) override {
    if (!FitsDirectIo(owner_.alignment_, byte_offset, slices)) {
      ++owner_.unaligned_reads_;
    }
    return base_->ReadFully(byte_offset, slices);
  }
  StatusOr<int64_t> ReadCached(int64_t byte_offset,
                               std::span<const IoSlice> slices) override {
    return base_->ReadCached(byte_offset, slices);
  }
  Status WriteFully(int64_t byte_offset,
                    std::span<const IoSlice> slices) override {
    if (!FitsDirectIo(owner_.alignment_, byte_offset, slices)) {
      ++owner_.unaligned_writes_;
    }
    return base_->WriteFully(byte_offset, slices);
  }
  StatusOr<int64_t> Size() override { return base_->Size(); }
  Status Truncate(int64_t nbytes) override { return base_->Truncate(nbytes); }
  Status Allocate(int64_t nbytes) override { return base_->Allocate(nbytes); }
  Status Sync() override { return base_->Sync(); }
  Status Close() override { return base_->Close(); }
  std::optional<DirectIoAlignment> direct_io() const override {
    if (owner_.asks_left_-- <= 0) return std::nullopt;
    return owner_.alignment_;
  }

 private:
  DirectFileSystem& owner_;
  const std::unique_ptr<File> base_;
};

StatusOr<std::unique_ptr<File>> DirectFileSystem::Open(
    const std::string& path, const OpenOptions& options) {
  OpenOptions plain = options;
  plain.direct_io = DirectIo::kOff;
  DCP_ASSIGN_OR_RETURN(auto file, base().Open(path, plain));
  if (options.direct_io == DirectIo::kOff) return file;
  return std::make_unique<DirectFile>(*this, std::move(file));
}

}  // namespace dcp::testing
