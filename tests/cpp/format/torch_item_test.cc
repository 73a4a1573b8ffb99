#include "format/torch_item.h"

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "format/golden.h"
#include "format/item_testing.h"
#include "format/strided.h"

namespace dcp {
namespace {

std::string Ramp(int64_t nbytes) {
  std::string data;
  for (int64_t i = 0; i < nbytes; ++i) data += static_cast<char>(i * 7);
  return data;
}

std::vector<DType> PlainDTypes() {
  std::vector<DType> dtypes;
  for (const DTypeInfo& info : AllDTypes()) {
    if (info.kind != DTypeKind::kQuantized) dtypes.push_back(info.dtype);
  }
  return dtypes;
}

TEST_CASE("an item of any dtype and shape is read back", "[item]") {
  const std::vector<Dims> shapes = {{},        {0},          {3},
                                    {2, 3},    {1, 0, 4},    {2, 3, 4, 5},
                                    {70000},   {1, 1, 1, 1}, {1, 2, 1, 3, 1, 2},
                                    {300, 300}};
  for (const DType dtype : PlainDTypes()) {
    for (const Dims& sizes : shapes) {
      for (const int64_t offset : {0, 64, 4096 + 1600}) {
        const TensorItemSpec spec{.dtype = dtype, .sizes = sizes};
        const std::string data = Ramp(Numel(sizes) * ItemSize(dtype));
        const std::string item = RenderItem(spec, offset, data);
        const auto info = ParseItem(item);
        INFO(DTypeName(dtype) << ToString(sizes) << info.status());
        REQUIRE(info.ok());
        REQUIRE_FALSE(info->needs_torch);
        REQUIRE(info->dtype == dtype);
        REQUIRE(info->sizes == sizes);
        REQUIRE(info->strides == ContiguousStrides(sizes));
        REQUIRE(info->storage_offset == 0);
        REQUIRE(info->data_crc32 == Crc32(0, AsBytes(data)));
        REQUIRE(item.substr(static_cast<size_t>(info->data_offset),
                            static_cast<size_t>(info->data_nbytes)) == data);
        REQUIRE(VerifyItemCrcs(AsBytes(item)).ok());
      }
    }
  }
}

TEST_CASE("data is aligned in the file, large data to pages", "[item]") {
  std::mt19937 rng(3);
  for (int i = 0; i < 2000; ++i) {
    const int64_t offset = AlignItemOffset(static_cast<int64_t>(rng()) * 37);
    const TensorItemSpec spec{.dtype = DType::kUInt8,
                              .sizes = {static_cast<int64_t>(rng() % 200000)}};
    const auto layout = LayoutTensorItem(spec, offset);
    REQUIRE(layout.ok());
    const int64_t in_file = offset + layout->data_offset;
    REQUIRE(in_file % 64 == 0);
    if (layout->data_nbytes >= 65536) REQUIRE(in_file % 4096 == 0);
    REQUIRE(ItemSuffixNbytes(*layout) > 0);
  }
}

TEST_CASE("an item is what torch writes, byte for byte", "[item]") {
  // Golden items that begin at offset 0 and are contiguous; apart from
  // serialization_id (40 digits) and its CRC, which stands in a descriptor
  // behind them and in the directory.
  const auto folder = std::filesystem::path(DCP_GOLDEN_DIR) /
                      "torch-2.13.0-py3.11" / "file_per_item";
  const std::string theirs = ReadWholeFile(folder / "__0_1.distcp");
  const auto info = ParseItem(theirs);
  REQUIRE(info.ok());
  const std::string data =
      theirs.substr(static_cast<size_t>(info->data_offset),
                    static_cast<size_t>(info->data_nbytes));
  const std::string ours =
      RenderItem({.dtype = info->dtype, .sizes = info->sizes}, 0, data);
  REQUIRE(ours.size() == theirs.size());
  std::vector<size_t> different;
  for (size_t i = 0; i < ours.size(); ++i) {
    if (ours[i] != theirs[i]) different.push_back(i);
  }
  const size_t id = ours.find("archive/.data/serialization_id");
  REQUIRE(id != std::string::npos);
  const size_t digits = (id / 64 + 2) * 64;
  const size_t entry = ours.rfind("archive/.data/serialization_id") - 46;
  for (const size_t i : different) {
    const bool is_digit = i >= digits && i < digits + 40;
    const bool is_descriptor_crc = i >= digits + 44 && i < digits + 48;
    const bool is_directory_crc = i >= entry + 16 && i < entry + 20;
    CHECK((is_digit || is_descriptor_crc || is_directory_crc));
  }
}

TEST_CASE("impossible items are refused before they are laid out", "[item]") {
  const int64_t big = int64_t{1} << 62;
  const auto code = [](DType dtype, const Dims& sizes, int64_t offset) {
    return LayoutTensorItem({.dtype = dtype, .sizes = sizes}, offset)
        .status()
        .code();
  };
  using absl::StatusCode;
  CHECK(code(DType::kInt8, {1}, 1) == StatusCode::kInvalidArgument);
  CHECK(code(DType::kInt8, {1}, -64) == StatusCode::kInvalidArgument);
  CHECK(code(DType::kInt8, {-1}, 0) == StatusCode::kInvalidArgument);
  CHECK(code(DType::kInt8, {big, 2}, 0) == StatusCode::kInvalidArgument);
  CHECK(code(DType::kFloat64, {big}, 0) == StatusCode::kInvalidArgument);
  CHECK(code(DType::kInt8, Dims::Filled(65, 1), 0) ==
        StatusCode::kInvalidArgument);
  CHECK(code(DType::kQInt8, {1}, 0) == StatusCode::kUnimplemented);
  CHECK(code(DType::kInt8, Dims::Filled(64, 1), 0) == StatusCode::kOk);
}

/// An item whose data is zeros that are not in memory.
class ZerosItem : public ItemSource {
 public:
  ZerosItem(std::string head, int64_t data_nbytes, std::string tail)
      : head_(std::move(head)),
        tail_(std::move(tail)),
        tail_start_(static_cast<int64_t>(head_.size()) + data_nbytes) {}

  int64_t length() const {
    return tail_start_ + static_cast<int64_t>(tail_.size());
  }

  Status Read(int64_t item_offset, std::span<std::byte> out) override {
    REQUIRE(out.size() <= 65536);  // never the data
    for (size_t i = 0; i < out.size(); ++i) {
      const int64_t at = item_offset + static_cast<int64_t>(i);
      char byte = 0;
      if (at < static_cast<int64_t>(head_.size())) {
        byte = head_[static_cast<size_t>(at)];
      } else if (at >= tail_start_) {
        byte = tail_[static_cast<size_t>(at - tail_start_)];
      }
      out[i] = static_cast<std::byte>(byte);
    }
    return absl::OkStatus();
  }

 private:
  std::string head_;
  std::string tail_;
  int64_t tail_start_;
};

constexpr std::array<int64_t, 3> kZip64Sizes = {0xFFFFFFFE, 0xFFFFFFFF,
                                                0x100000000};

TEST_CASE("torch's items of 4 GiB are read", "[item][zip64]") {
  const auto folder = std::filesystem::path(DCP_GOLDEN_DIR) /
                      "torch-2.13.0-py3.11" / "zip64_ends";
  for (const int64_t nbytes : kZip64Sizes) {
    const std::string name = std::to_string(nbytes);
    ZerosItem item(ReadWholeFile(folder / (name + ".head")), nbytes,
                   ReadWholeFile(folder / (name + ".tail")));
    const auto info = ParseTensorItem(item, item.length());
    INFO(info.status());
    REQUIRE(info.ok());
    CHECK(info->sizes == Dims{nbytes});
    CHECK(info->data_nbytes == nbytes);
    CHECK(info->data_offset == 704);
  }
}

TEST_CASE("items of 4 GiB and beyond are read back", "[item][zip64]") {
  std::vector<int64_t> sizes(kZip64Sizes.begin(), kZip64Sizes.end());
  sizes.insert(sizes.end(), {0xFFFFF000, 0xFFFFFC00, int64_t{1} << 40});
  for (const int64_t nbytes : sizes) {
    const TensorItemSpec spec{.dtype = DType::kUInt8, .sizes = {nbytes}};
    const int64_t offset = int64_t{1} << 45;
    const auto layout = LayoutTensorItem(spec, offset);
    REQUIRE(layout.ok());
    std::string head(static_cast<size_t>(layout->data_offset), '?');
    std::string tail(static_cast<size_t>(ItemSuffixNbytes(*layout)), '?');
    RenderItemPrefix(spec, *layout, offset,
                     std::as_writable_bytes(std::span(head)));
    RenderItemSuffix(spec, *layout, 0x12345678,
                     std::as_writable_bytes(std::span(tail)));
    ZerosItem item(head, nbytes, tail);
    CHECK(item.length() == layout->length);
    const auto info = ParseTensorItem(item, item.length());
    INFO(nbytes << info.status());
    REQUIRE(info.ok());
    CHECK(info->data_offset == layout->data_offset);
    CHECK(info->data_nbytes == nbytes);
    CHECK(info->data_crc32 == 0x12345678);
  }
}

TEST_CASE("what surrounds 4 GiB of data is as torch has it, less padding",
          "[item][zip64]") {
  // Behind the data nothing depends on where the data lies, but for offsets:
  // the suffix has the size and the structure of torch's.
  const auto folder = std::filesystem::path(DCP_GOLDEN_DIR) /
                      "torch-2.13.0-py3.11" / "zip64_ends";
  for (const int64_t nbytes : kZip64Sizes) {
    const TensorItemSpec spec{.dtype = DType::kUInt8, .sizes = {nbytes}};
    const auto layout = LayoutTensorItem(spec, 0);
    REQUIRE(layout.ok());
    const std::string tail =
        ReadWholeFile(folder / (std::to_string(nbytes) + ".tail"));
    CHECK(static_cast<size_t>(ItemSuffixNbytes(*layout)) == tail.size());
  }
}

}  // namespace
}  // namespace dcp
