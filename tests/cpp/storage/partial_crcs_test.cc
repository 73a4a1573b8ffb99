#include "storage/partial_crcs.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "base/checksum.h"

namespace dcp {
namespace {

uint32_t CrcOf(const std::string& bytes, size_t begin, size_t nbytes) {
  return Crc32(0, std::as_bytes(std::span(bytes).subspan(begin, nbytes)));
}

TEST_CASE("the parts of a tensor are checked when the last one has come",
          "[storage]") {
  const std::string bytes(1000, 'x');
  const StoredItem item{.index = {.fqn = "w"}, .directory = "/c"};
  std::vector<size_t> begins;
  for (size_t begin = 0; begin < bytes.size(); begin += 70) {
    begins.push_back(begin);
  }
  std::mt19937 random(1);
  for (const bool is_right : {true, false}) {
    for (int trial = 0; trial < 50; ++trial) {
      std::shuffle(begins.begin(), begins.end(), random);
      const TensorPlace place{
          .data_nbytes = 1000,
          .crc32 = CrcOf(bytes, 0, 1000) ^ (is_right ? 0U : 1U)};
      PartialCrcs crcs;
      for (size_t i = 0; i < begins.size(); ++i) {
        const size_t nbytes = std::min<size_t>(70, bytes.size() - begins[i]);
        const auto add = [&] {
          return crcs.Add(item, place, static_cast<int64_t>(begins[i]),
                          static_cast<int64_t>(nbytes),
                          CrcOf(bytes, begins[i], nbytes));
        };
        const bool is_last = i + 1 == begins.size();
        const Status added = add();
        REQUIRE(added.ok() == (is_right || !is_last));
        if (!is_last) REQUIRE(add().ok());  // again: it is left out
      }
    }
  }
}

}  // namespace
}  // namespace dcp
