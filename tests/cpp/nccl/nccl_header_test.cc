#include "nccl/nccl_header.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "base/wire.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string Text(const Status& status) { return std::string(Message(status)); }

std::string BytesOf(const NcclHeader& header) {
  std::string bytes(NcclHeader::kNbytes, '\0');
  WriteHeader(header, bytes);
  return bytes;
}

TEST_CASE("a header comes as it went", "[nccl]") {
  const NcclHeader header = HeaderOf(NcclMethod::kGather, 1ULL << 40, "plan");
  const auto read = ReadHeader(BytesOf(header), 3);
  REQUIRE(read.ok());
  CHECK(*read == header);
  CHECK(read->nbytes == 4);
}

TEST_CASE("a header that any bit was changed of names its sender", "[nccl]") {
  const std::string bytes = BytesOf(HeaderOf(NcclMethod::kGather, 7, "plan"));
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    const Status status = ReadHeader(changed, 3).status();
    CHECK_FALSE(status.ok());
    CHECK_THAT(Text(status), Contains("rank 3"));
  }
}

TEST_CASE("what is no header, or is cut short, is refused", "[nccl]") {
  for (const std::string& bytes :
       {std::string(), std::string(32, '\0'), std::string(32, 'x'),
        BytesOf(HeaderOf(NcclMethod::kGather, 7, "")).substr(0, 31)}) {
    CHECK_FALSE(ReadHeader(bytes, 1).ok());
  }
  CHECK_THAT(Text(ReadHeader(std::string(32, 'x'), 1).status()),
             Contains("rank 1 sent what is not a message of libdcp"));
  const std::string unknown =
      BytesOf({.method = static_cast<NcclMethod>(99), .sequence = 7});
  CHECK_THAT(Text(ReadHeader(unknown, 1).status()),
             Contains("the header of rank 1 names no method"));
}

TEST_CASE("a rank over NCCL with another protocol is told so", "[nccl]") {
  WireWriter writer;
  writer.PutU32(0x6e706364);
  writer.PutU32(2 | 2 << 16);  // version 2, Gather
  writer.PutU64(7);
  writer.PutU64(0);
  writer.PutU32(0);
  const std::string_view bytes = writer.data();
  writer.PutU32(Crc32(0, std::as_bytes(std::span(bytes))));
  const Status status = ReadHeader(writer.data(), 1).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Text(status), Contains("rank 1 speaks version 2") &&
                               Contains("the same libdcp"));
}

TEST_CASE("a message that is not what its header says is lost data", "[nccl]") {
  const NcclHeader header = HeaderOf(NcclMethod::kGather, 7, "plan");
  CHECK(CheckMessage(header, "plan", 2).ok());
  for (const char* other : {"plam", "pla", "plans", ""}) {
    const Status status = CheckMessage(header, other, 2);
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(Text(status), Contains("rank 2") && Contains("Gather"));
  }
}

/// What ranks 0 to 2 find when rank 2 says `last`, and the others Gather.
Status Compare(const NcclHeader& last) {
  const NcclHeader gather = HeaderOf(NcclMethod::kGather, 7, "a");
  return CompareHeaders(std::vector{gather, gather, last});
}

TEST_CASE("ranks that make different calls see who does what", "[nccl]") {
  CHECK(Compare(HeaderOf(NcclMethod::kGather, 7, "other")).ok());
  CHECK_THAT(Text(Compare(HeaderOf(NcclMethod::kScatter, 7, ""))),
             Contains("rank 2 called Scatter where rank 0 called Gather"));
  CHECK_THAT(Text(Compare(HeaderOf(NcclMethod::kGather, 8, "a"))),
             Contains("rank 2 is at its call 8 where rank 0 is at 7"));
  CHECK_THAT(Text(Compare(HeaderOf(static_cast<NcclMethod>(99), 7, "a"))),
             Contains("rank 2 called method 99"));
  const Status gone = Compare({.method = NcclMethod::kLeave});
  CHECK(gone.code() == absl::StatusCode::kAborted);
  CHECK_THAT(Text(gone), Contains("rank 2 is gone"));
  const Status failed = Compare({.method = NcclMethod::kFailure, .nbytes = 8});
  CHECK(failed.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(Text(failed), Contains("rank 2 gave up"));
}

TEST_CASE("AwaitAll is for one phase", "[nccl]") {
  const std::vector phases = {HeaderOf(NcclMethod::kAwaitAll, 7, "write"),
                              HeaderOf(NcclMethod::kAwaitAll, 7, "read")};
  const Status status = CompareHeaders(phases);
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Text(status), Contains("rank 1 called AwaitAll for another"));
}

}  // namespace
}  // namespace dcp
