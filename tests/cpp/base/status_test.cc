#include "dcp/status.h"

#include <catch2/catch.hpp>
#include <cerrno>

namespace dcp {
namespace {

TEST_CASE("a failed call says operation, path, range and reason", "[status]") {
  const Status status = ErrnoToStatus(ENOSPC, {.op = "pwrite",
                                               .path = "/ckpt/7/__3_0.distcp",
                                               .byte_offset = 4096,
                                               .nbytes = 1048576});
  CHECK(Message(status) ==
        "pwrite /ckpt/7/__3_0.distcp [offset=4096 B, n=1048576 B]: No space "
        "left on device");
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  const auto detail = GetErrorDetail(status);
  REQUIRE(detail.has_value());
  CHECK(detail->error_number == ENOSPC);
  CHECK(detail->path == "/ckpt/7/__3_0.distcp");
  CHECK(detail->byte_offset == 4096);
}

TEST_CASE("statuses travel between ranks with their payloads", "[status]") {
  const Status sent = Annotate(
      CorruptionError("CRC-32 differs", {.path = "a", .fqn = "model.w"}),
      "load");
  Status received;
  REQUIRE(ParseStatus(SerializeStatus(sent), &received).ok());
  CHECK(received == sent);
  CHECK(GetErrorDetail(received)->fqn == "model.w");
  CHECK_FALSE(ParseStatus("\xff", &received).ok());
}

TEST_CASE("failures of several ranks make one status", "[status]") {
  RankFailures failures{.phase = "write", .by_rank = {}};
  failures.by_rank[3] = DataLoss("three");
  failures.by_rank[1] = ErrnoToStatus(EIO, {.op = "fsync", .path = "f"});
  const Status status = MakeRankFailures(failures);
  CHECK(status.code() == absl::StatusCode::kUnknown);
  const auto parsed = GetRankFailures(status);
  REQUIRE(parsed.has_value());
  CHECK(parsed->phase == "write");
  REQUIRE(parsed->by_rank.size() == 2);
  CHECK(parsed->by_rank.at(3) == failures.by_rank.at(3));
  CHECK(GetErrorDetail(parsed->by_rank.at(1))->error_number == EIO);
}

}  // namespace
}  // namespace dcp
