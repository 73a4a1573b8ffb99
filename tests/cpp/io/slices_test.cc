#include "io/slices.h"

#include <catch2/catch.hpp>
#include <limits>

#include "conformance/bytes.h"

namespace dcp {
namespace {

using conformance::SliceOf;

std::string Text(const std::vector<IoSlice>& slices) {
  std::string text;
  for (const IoSlice& slice : slices) {
    text.append(reinterpret_cast<const char*>(slice.data), slice.nbytes);
    text += '|';
  }
  return text;
}

std::string Text(const std::vector<iovec>& iov) {
  std::string text;
  for (const iovec& slice : iov) {
    text.append(static_cast<const char*>(slice.iov_base), slice.iov_len);
    text += '|';
  }
  return text;
}

TEST_CASE("a range beyond int64 is refused before it is used", "[slices]") {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  std::byte byte{};
  const std::vector<IoSlice> two = {{&byte, 1}, {&byte, 1}};
  CHECK(CheckedTotal("f", kMax - 2, two).value() == 2);
  const Status status = CheckedTotal("f", kMax - 1, two).status();
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)), Catch::Contains("f exceeds 2^63"));
  const IoSlice huge{&byte, std::numeric_limits<size_t>::max()};
  CHECK_FALSE(CheckedTotal("f", 0, {&huge, 1}).ok());
  CHECK_FALSE(CheckedTotal("f", -1, {}).ok());
}

TEST_CASE("slices are cut where they are asked to be", "[slices]") {
  std::string a = "abc";
  std::string b = "defgh";
  const std::vector<IoSlice> slices = {SliceOf(a), {nullptr, 0}, SliceOf(b)};
  CHECK(Text(SubSlices(slices, 0, 8)) == "abc|defgh|");
  CHECK(Text(SubSlices(slices, 1, 4)) == "bc|de|");
  CHECK(Text(SubSlices(slices, 3, 5)) == "defgh|");
  CHECK(Text(SubSlices(slices, 5, 2)) == "fg|");
  CHECK(SubSlices(slices, 8, 0).empty());
}

TEST_CASE("a cursor hands out what is left, within limits", "[slices]") {
  std::string a = "abc";
  std::string b = "defgh";
  std::string c = "i";
  const std::vector<IoSlice> slices = {
      SliceOf(a), {nullptr, 0}, SliceOf(b), SliceOf(c)};
  SliceCursor cursor(slices);
  std::vector<iovec> iov;
  CHECK(cursor.Next(10, 100, &iov) == 9);
  CHECK(Text(iov) == "abc|defgh|i|");
  CHECK(cursor.Next(2, 100, &iov) == 8);
  CHECK(cursor.Next(10, 5, &iov) == 5);
  CHECK(Text(iov) == "abc|de|");
  cursor.Advance(4);
  CHECK(cursor.Next(10, 100, &iov) == 5);
  CHECK(Text(iov) == "efgh|i|");
  cursor.Advance(4);
  CHECK(cursor.Next(1, 100, &iov) == 1);
  CHECK(Text(iov) == "i|");
  cursor.Advance(1);
  CHECK(cursor.Next(10, 100, &iov) == 0);
}

TEST_CASE("bytes are copied through slices in order", "[slices]") {
  std::string a = "...";
  std::string b = ".....";
  const std::vector<IoSlice> slices = {SliceOf(a), SliceOf(b)};
  std::string bytes = "12345";
  CopyToSlices(SliceOf(bytes).data, 5, slices);
  CHECK(a + b == "12345...");
  std::string back(4, ' ');
  CopyFromSlices(slices, 4, SliceOf(back).data);
  CHECK(back == "1234");
}

}  // namespace
}  // namespace dcp
