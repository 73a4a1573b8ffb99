#include "base/wire.h"

#include <catch2/catch.hpp>
#include <limits>

namespace dcp {
namespace {

TEST_CASE("wire values come back as written", "[wire]") {
  WireWriter out;
  const int64_t min = std::numeric_limits<int64_t>::min();
  const uint64_t max = std::numeric_limits<uint64_t>::max();
  out.PutU8(7);
  out.PutU32(0xdeadbeef);
  out.PutU64(max);
  out.PutVarint(max);
  out.PutSigned(min);
  out.PutSigned(-1);
  out.PutString("key");
  out.PutFlag(true);
  out.PutFlag(false);
  out.PutDims({1, -2, 3, 4, 5, 6, 7});
  WireReader in(out.data(), "test");
  CHECK(in.U8() == 7);
  CHECK(in.U32() == 0xdeadbeef);
  CHECK(in.U64() == max);
  CHECK(in.Varint() == max);
  CHECK(in.Signed() == min);
  CHECK(in.Signed() == -1);
  CHECK(in.String() == "key");
  CHECK(in.Flag());
  CHECK_FALSE(in.Flag());
  CHECK(in.GetDims() == Dims{1, -2, 3, 4, 5, 6, 7});
  CHECK(in.Finish().ok());
}

TEST_CASE("every truncation of a message is an error", "[wire]") {
  WireWriter out;
  out.PutString("some key");
  out.PutDims({100, 200, 300});
  out.PutU64(5);
  for (size_t n = 0; n < out.data().size(); ++n) {
    WireReader in(std::string_view(out.data()).substr(0, n), "message");
    in.String();
    in.GetDims();
    in.U64();
    CHECK(in.Finish().code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("a flag is 0 or 1", "[wire]") {
  WireReader in("\2", "message");
  CHECK_FALSE(in.Flag());
  CHECK(in.status().code() == absl::StatusCode::kDataLoss);
}

TEST_CASE("a count that the bytes cannot hold is refused", "[wire]") {
  WireWriter out;
  out.PutVarint(uint64_t{1} << 60);
  WireReader in(out.data(), "bomb");
  CHECK(in.Count(1) == 0);
  CHECK_FALSE(in.ok());
  WireReader dims(out.data(), "bomb");
  CHECK(dims.GetDims().empty());
  CHECK_FALSE(dims.ok());
}

}  // namespace
}  // namespace dcp
