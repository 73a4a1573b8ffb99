#include "format/indexed_columns.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace dcp {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

std::string Put(const std::vector<int64_t>& values) {
  WireWriter out;
  PutColumn(values, &out);
  return out.data();
}

/// The size of the column, after it was checked that it comes back.
size_t RoundTrip(const std::vector<int64_t>& values) {
  const std::string data = Put(values);
  std::vector<int64_t> read(values.size(), 77);
  WireReader in(data, "column");
  GetColumn(&in, read);
  CHECK(in.Finish().ok());
  CHECK(read == values);
  return data.size();
}

TEST_CASE("regular columns take a few bytes", "[indexed]") {
  CHECK(RoundTrip(std::vector<int64_t>(256, 0)) == 3);
  CHECK(RoundTrip({kMin}) <= 12);
  std::vector<int64_t> line;
  for (int64_t i = 0; i < 256; ++i) line.push_back(1000 + i * 70000);
  CHECK(RoundTrip(line) <= 6);
  // Bits are for what varies: 256 bits, and a head of 6 bytes.
  line.assign(256, 1000);
  line[255] = 1001;
  CHECK(RoundTrip(line) <= 32 + 6);
}

TEST_CASE("any numbers come back", "[indexed]") {
  RoundTrip({kMin, kMax});
  RoundTrip({kMax, kMin, 0});
  std::mt19937_64 rng(3);
  for (unsigned width = 0; width < 64; ++width) {
    for (const size_t count : {1, 2, 3, 7, 255, 256}) {
      std::vector<int64_t> values(count);
      for (int64_t& value : values) {
        value = static_cast<int64_t>(rng() >> width);
      }
      RoundTrip(values);
    }
  }
}

TEST_CASE("columns that are cut or too wide are refused", "[indexed]") {
  const std::string data = Put({1, 5, 2, 9});
  std::vector<int64_t> values(4);
  for (size_t n = 0; n < data.size(); ++n) {
    const std::string cut = data.substr(0, n);
    WireReader in(cut, "column");
    GetColumn(&in, values);
    CHECK_FALSE(in.Finish().ok());
  }
  for (int width = 65; width < 256; ++width) {
    std::string wide = data;
    wide[0] = static_cast<char>(width);
    WireReader in(wide, "column");
    GetColumn(&in, values);
    CHECK_FALSE(in.Finish().ok());
  }
}

}  // namespace
}  // namespace dcp
