#include "storage/block_check.h"

namespace dcp {
namespace {

class CheckConsumer final : public BlockConsumer {
 public:
  explicit CheckConsumer(std::span<const std::unique_ptr<BlockCheck>> checks)
      : checks_(checks) {}

  static uint64_t Tag(size_t check, uint32_t number) {
    return (static_cast<uint64_t>(check) << 32) | number;
  }

  bool Place(const ReadBlock&, std::span<std::byte>,
             std::vector<IoSlice>*) override {
    return false;  // a buffer will do
  }

  Status Consume(const ReadBlock& block,
                 std::span<const IoSlice> slices) override {
    CheckOf(block).Check(PartOf(block), {slices[0].data, slices[0].nbytes});
    return absl::OkStatus();
  }

  Status ReadFailed(const ReadBlock& block, const Status& error) override {
    CheckOf(block).ReadFailed(PartOf(block), error);
    return absl::OkStatus();
  }

 private:
  BlockCheck& CheckOf(const ReadBlock& block) {
    return *checks_[static_cast<size_t>(block.tag >> 32)];
  }
  static CheckedBlock PartOf(const ReadBlock& block) {
    return {.number = static_cast<uint32_t>(block.tag),
            .byte_offset = block.byte_offset,
            .nbytes = block.nbytes};
  }

  std::span<const std::unique_ptr<BlockCheck>> checks_;
};

}  // namespace

Status RunBlockChecks(std::span<const std::unique_ptr<BlockCheck>> checks,
                      const PipelineOptions& options) {
  std::vector<ReadBlock> blocks;
  for (size_t i = 0; i < checks.size(); ++i) {
    File& file = checks[i]->file();
    const int64_t max_nbytes = file.direct_io().has_value()
                                   ? options.direct_block_nbytes
                                   : options.buffered_block_nbytes;
    for (const CheckedBlock& block : checks[i]->Blocks(max_nbytes)) {
      blocks.push_back({.file = &file,
                        .byte_offset = block.byte_offset,
                        .nbytes = block.nbytes,
                        .tag = CheckConsumer::Tag(i, block.number)});
    }
  }
  CheckConsumer consumer(checks);
  DCP_RETURN_IF_ERROR(RunReadPipeline(blocks, consumer, options).status());
  for (const auto& check : checks) check->Finish();
  return absl::OkStatus();
}

}  // namespace dcp
