#include "saver/record_transport.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "conformance/check_files.h"
#include "conformance/transport_conformance.h"
#include "storage/rank_records.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using namespace std::chrono_literals;

constexpr char kDirectory[] = "/ckpt";
constexpr char kSession[] = "dcpcpp-12ab";

std::shared_ptr<FileSystem> Directory() {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories(kDirectory));
  return fs;
}

std::unique_ptr<Transport> Open(const std::shared_ptr<FileSystem>& fs,
                                RecordTransportOptions options) {
  options.directory = kDirectory;
  options.session_id = kSession;
  auto transport = RecordTransport::Open(fs, MakeSystemClock(), options);
  REQUIRE(transport.ok());
  return *std::move(transport);
}

Transports MakeRecordTransports(const std::shared_ptr<FileSystem>& fs,
                                int world_size, double timeout_seconds) {
  Transports transports;
  for (int rank = 0; rank < world_size; ++rank) {
    transports.push_back(
        Open(fs, {.rank = rank,
                  .world_size = world_size,
                  .timeout = std::chrono::duration_cast<Clock::Duration>(
                      std::chrono::duration<double>(timeout_seconds)),
                  .patience = 120s}));
  }
  return transports;
}

size_t FileCount(FileSystem& fs) { return fs.List(kDirectory).value().size(); }

TEST_CASE("record transports are transports", "[saver]") {
  CheckTransport([](int world_size, double timeout_seconds) {
    return MakeRecordTransports(Directory(), world_size, timeout_seconds);
  });
}

TEST_CASE("the last rank that leaves removes the session's records",
          "[saver]") {
  const auto fs = Directory();
  DCP_CHECK_OK(WriteFile(*fs, "/ckpt/.dcpcpp-12ac.1.record", "another's",
                         SyncMode::kNone));
  {
    Transports transports = MakeRecordTransports(fs, 3, kAmpleSeconds);
    RequireAllOk(OnAllRanks(transports, [](Transport& transport) {
      return ExchangeOnce(transport, 0, 10);
    }));
    transports.pop_back();
    CHECK(FileCount(*fs) > 1);
  }
  CHECK(FileCount(*fs) == 1);
}

TEST_CASE("any rank may coordinate", "[saver]") {
  const auto fs = Directory();
  Transports transports;
  for (int rank = 0; rank < 3; ++rank) {
    transports.push_back(
        Open(fs, {.rank = rank, .world_size = 3, .coordinator = 2}));
  }
  RequireAllOk(OnAllRanks(transports, [](Transport& transport) {
    return ExchangeOnce(transport, 0, 10);
  }));
}

TEST_CASE("a rank that never comes is named", "[saver]") {
  const int coordinator = GENERATE(0, 1);
  const auto fs = Directory();
  const auto transport = Open(fs, {.rank = 0,
                                   .world_size = 2,
                                   .coordinator = coordinator,
                                   .patience = 200ms});
  const Status status = transport->AwaitAll("write");
  CHECK(status.code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(status)),
             Contains("rank 1 is gone: it has not begun in /ckpt"));
}

TEST_CASE("a rank that shows no life any more is named on all", "[saver]") {
  const auto fs = Directory();
  RankRecords records(*fs, kDirectory, kSession);
  DCP_CHECK_OK(records.Put("alive-2", "1 of a rank that was stopped"));
  Transports transports;
  for (int rank = 0; rank < 2; ++rank) {
    transports.push_back(
        Open(fs, {.rank = rank, .world_size = 3, .patience = 3s}));
  }
  const auto statuses = OnAllRanks(transports, [](Transport& transport) {
    return transport.AwaitAll("write");
  });
  for (const Status& status : statuses) {
    CHECK(status.code() == absl::StatusCode::kAborted);
    CHECK_THAT(std::string(Message(status)),
               Contains("rank 2 is gone: its saver shows no sign of life"));
  }
  CHECK(static_cast<RecordTransport&>(*transports[1]).failed_rank() == 2);
  // The records of a session whose last rank is lost go as well.
  transports.clear();
  CHECK(FileCount(*fs) == 0);
}

TEST_CASE("a rank that the others gave up does not go on", "[saver]") {
  const auto fs = Directory();
  Transports transports = MakeRecordTransports(fs, 2, kAmpleSeconds);
  DCP_CHECK_OK(RankRecords(*fs, kDirectory, kSession).TellGone(0, "was late"));
  const auto statuses = OnAllRanks(transports, [](Transport& transport) {
    return transport.Gather("results").status();
  });
  CHECK(statuses[0].code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(statuses[0])), Contains("given this one up"));
}

}  // namespace
}  // namespace dcp
