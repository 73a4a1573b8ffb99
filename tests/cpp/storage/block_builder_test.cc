#include "storage/block_builder.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/tensor_cases.h"
#include "conformance/bytes.h"
#include "format/bytes.h"

namespace dcp {
namespace {

std::string Joined(const std::vector<IoSlice>& slices) {
  std::string bytes;
  for (const IoSlice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.data), slice.nbytes);
  }
  return bytes;
}

TEST_CASE("a block is its parts in order, with the CRC of every cell",
          "[storage]") {
  Random random(1);
  for (int round = 0; round < 40; ++round) {
    const int64_t begin = random.Between(0, 3) * 700000;
    std::vector<std::byte> buffer(size_t{3} << 20);
    std::string memory = conformance::RandomBytes(random.engine(), 500000);
    std::vector<IoSlice> slices;
    BlockBuilder builder(begin, FillMode::kReference, buffer, &slices);
    std::string expected;
    for (int64_t parts = random.Between(0, 8); parts > 0; --parts) {
      const int64_t n = random.Between(0, 300000);
      const std::string bytes = memory.substr(0, static_cast<size_t>(n));
      auto* data = reinterpret_cast<std::byte*>(memory.data());
      if (random.OneIn(3)) {
        builder.Zeros(n);
        expected.append(static_cast<size_t>(n), '\0');
        continue;
      }
      if (random.OneIn(2)) {
        builder.Reference({data, static_cast<size_t>(n)});
      } else {
        const auto reserved = builder.Reserve(n);
        std::copy_n(data, n, reserved.data());
      }
      if (n > 0 && random.OneIn(2)) builder.Know(n, Crc32(0, AsBytes(bytes)));
      expected += bytes;
    }
    CHECK(builder.position() == begin + static_cast<int64_t>(expected.size()));
    CHECK((Joined(slices) == expected));
    BlockChecksums checksums;
    builder.ReportChecksums(begin, checksums);
    BlockChecksums whole;
    for (int64_t at = begin; at < builder.position();) {
      const int64_t end = std::min(builder.position(),
                                   (at / kChecksumBlock + 1) * kChecksumBlock);
      whole.Add(at, end - at,
                Crc32(0, AsBytes(std::string_view(expected).substr(
                             static_cast<size_t>(at - begin),
                             static_cast<size_t>(end - at)))));
      at = end;
    }
    CHECK(checksums.Finish(builder.position()) ==
          whole.Finish(builder.position()));
  }
}

TEST_CASE("the CRC of a whole cell that is known is not computed again",
          "[storage]") {
  std::vector<std::byte> buffer(1000);
  std::vector<IoSlice> slices;
  BlockBuilder builder(0, FillMode::kCopy, buffer, &slices);
  CHECK_FALSE(builder.may_reference());
  builder.Zeros(1000);
  builder.Know(1000, 0x12345678);
  BlockChecksums checksums;
  builder.ReportChecksums(0, checksums);
  CHECK(checksums.Finish(1000) == std::vector<uint32_t>{0x12345678});
}

TEST_CASE("parts that lie next to each other are one slice", "[storage]") {
  std::vector<std::byte> buffer(1000);
  std::vector<IoSlice> slices;
  BlockBuilder builder(0, FillMode::kCopy, buffer, &slices);
  builder.Zeros(10);
  builder.Reserve(20);
  builder.Zeros(0);
  builder.Reserve(30);
  REQUIRE(slices.size() == 1);
  CHECK(slices[0].data == buffer.data());
  CHECK(slices[0].nbytes == 60);
}

}  // namespace
}  // namespace dcp
