#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "conformance/transport_conformance.h"
#include "mpi/mpi_ranks.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string Text(const Status& status) { return std::string(Message(status)); }

/// For collectives that are to fail, and for ranks that are to meet before.
constexpr double kPatientSeconds = 0.5;

void SleepFor(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

Status RunRounds(Transport& transport, int rounds, size_t nbytes) {
  for (int round = 0; round < rounds; ++round) {
    DCP_RETURN_IF_ERROR(ExchangeOnce(transport, round, nbytes));
    DCP_RETURN_IF_ERROR(transport.AwaitAll("write"));
    DCP_RETURN_IF_ERROR(transport.Check());
  }
  return absl::OkStatus();
}

TEST_CASE("ranks of MPI exchange messages", "[mpi]") {
  for (const int count : {1, 2, 4}) {
    const Status status =
        RunOnRanks(count, kAmpleSeconds, [count](auto& transport) -> Status {
          if (transport->rank() != WorldRank() ||
              transport->world_size() != count) {
            return Internal("a rank does not know itself");
          }
          return RunRounds(*transport, 50, 100);
        });
    INFO(Text(status));
    CHECK(status.ok());
  }
}

TEST_CASE("messages between ranks of MPI have any length", "[mpi]") {
  for (const size_t nbytes : {size_t{0}, size_t{1} << 16, size_t{70} << 20}) {
    const Status status =
        RunOnRanks(2, kAmpleSeconds, [nbytes](auto& transport) {
          return ExchangeOnce(*transport, 0, nbytes);
        });
    INFO(Text(status));
    CHECK(status.ok());
  }
}

TEST_CASE("all ranks are told which one did not come", "[mpi]") {
  const Status status =
      RunOnRanks(3, kPatientSeconds, [](auto& transport) -> Status {
        if (transport->rank() == 2) return absl::OkStatus();
        return transport->Gather("plan").status();
      });
  if (WorldRank() >= 2) return;
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(status), Contains("rank(s) 2"));
}

TEST_CASE("a coordinator that comes too late is told who gave up", "[mpi]") {
  const Status status = RunOnRanks(2, kPatientSeconds, [](auto& transport) {
    if (transport->rank() == 0) SleepFor(3 * kPatientSeconds);
    return transport->Broadcast("x").status();
  });
  if (WorldRank() >= 2) return;
  CHECK(status.code() == absl::StatusCode::kDeadlineExceeded);
  CHECK_THAT(Text(status), Contains("rank 0, the coordinator, did not answer"));
  if (WorldRank() == 0) CHECK_THAT(Text(status), Contains("rank 1 gave up"));
}

TEST_CASE("AwaitAll outlasts the timeout between ranks of MPI", "[mpi]") {
  for (const int late : {0, 1}) {
    const Status status =
        RunOnRanks(2, kPatientSeconds, [late](auto& transport) {
          if (transport->rank() == late) SleepFor(3 * kPatientSeconds);
          return transport->AwaitAll("write");
        });
    INFO(Text(status));
    CHECK(status.ok());
  }
}

TEST_CASE("a rank of MPI that leaves is named to the others", "[mpi]") {
  for (const int leaver : {0, 2}) {
    const Status status =
        RunOnRanks(3, kAmpleSeconds, [leaver](auto& transport) -> Status {
          if (transport->rank() == leaver) {
            transport.reset();
            return absl::OkStatus();
          }
          return transport->AwaitAll("write");
        });
    if (WorldRank() >= 3 || WorldRank() == leaver) continue;
    CHECK(status.code() == absl::StatusCode::kAborted);
    CHECK_THAT(Text(status),
               Contains("rank " + std::to_string(leaver) + " is gone"));
  }
}

TEST_CASE("Check finds out that a rank has left", "[mpi]") {
  const Status status =
      RunOnRanks(3, kAmpleSeconds, [](auto& transport) -> Status {
        if (transport->rank() == 1) {
          transport.reset();
          return absl::OkStatus();
        }
        for (;;) {
          DCP_RETURN_IF_ERROR(transport->Check());
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      });
  if (WorldRank() >= 3 || WorldRank() == 1) return;
  CHECK(status.code() == absl::StatusCode::kAborted);
  CHECK_THAT(Text(status), Contains("rank 1 is gone"));
}

TEST_CASE("ranks of MPI that call different methods are told so", "[mpi]") {
  const Status status = RunOnRanks(4, kAmpleSeconds, [](auto& transport) {
    if (transport->rank() == 3) return transport->AwaitAll("write");
    return transport->Gather("plan").status();
  });
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Text(status), Contains("rank 3 called AwaitAll(\"write\")"));
  CHECK_THAT(Text(status), Contains("rank 0 called Gather"));
}

TEST_CASE("after a failure every call of ranks of MPI fails", "[mpi]") {
  const Status status =
      RunOnRanks(2, kAmpleSeconds, [](auto& transport) -> Status {
        const std::vector<std::string> three(3);
        const Status first = transport->Scatter(three).status();
        const Status second = transport->AwaitAll("write");
        const Status third = transport->Check();
        if (second != first || third != first) return Internal("another error");
        return first;
      });
  if (WorldRank() >= 2) return;
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a rank of MPI may leave when its last call returned", "[mpi]") {
  for (int trial = 0; trial < 50; ++trial) {
    const Status status =
        RunOnRanks(4, kAmpleSeconds, [](auto& transport) -> Status {
          DCP_RETURN_IF_ERROR(transport->AwaitAll("commit"));
          transport.reset();
          return absl::OkStatus();
        });
    INFO("trial " << trial << ": " << Text(status));
    REQUIRE(status.ok());
  }
}

TEST_CASE("the trainer's messages and a transport's do not meet", "[mpi]") {
  const Status status =
      RunOnRanks(4, kAmpleSeconds, [](auto& transport) -> Status {
        int received = -1;
        MPI_Request request = MPI_REQUEST_NULL;
        if (transport->rank() == 0) {
          MPI_Irecv(&received, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG,
                    MPI_COMM_WORLD, &request);
        }
        DCP_RETURN_IF_ERROR(RunRounds(*transport, 3, 100));
        if (transport->rank() == 3) {
          const int sent = 42;
          MPI_Send(&sent, 1, MPI_INT, 0, 1, MPI_COMM_WORLD);
        }
        MPI_Wait(&request, MPI_STATUS_IGNORE);
        const bool is_rank_0 = transport->rank() == 0;
        return is_rank_0 && received != 42 ? Internal("not 42")
                                           : absl::OkStatus();
      });
  INFO(Text(status));
  CHECK(status.ok());
}

TEST_CASE("what is no group of ranks is refused", "[mpi]") {
  const auto none = MakeMpiTransport(MPI_COMM_NULL);
  CHECK(none.status().code() == absl::StatusCode::kInvalidArgument);
  const auto never = MakeMpiTransport(MPI_COMM_SELF, {.timeout_seconds = 0});
  CHECK(never.status().code() == absl::StatusCode::kInvalidArgument);
  MPI_Comm half = MPI_COMM_NULL;
  MPI_Comm both = MPI_COMM_NULL;
  const int side = WorldRank() % 2;
  MPI_Comm_split(MPI_COMM_WORLD, side, 0, &half);
  MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, 1 - side, 7, &both);
  const auto inter = MakeMpiTransport(both);
  CHECK(inter.status().code() == absl::StatusCode::kInvalidArgument);
  MPI_Comm_free(&both);
  MPI_Comm_free(&half);
}

TEST_CASE("a rank that does not make its transport is waited for, not for ever",
          "[mpi]") {
  const auto make = [] {
    const auto made =
        MakeMpiTransport(MPI_COMM_WORLD, {.timeout_seconds = kShortSeconds});
    CHECK(made.status().code() == absl::StatusCode::kDeadlineExceeded);
  };
  if (WorldRank() != 3) make();
  MPI_Barrier(MPI_COMM_WORLD);
  // The late one gets its duplicate, as MPI's rule is, but nobody to talk to.
  if (WorldRank() == 3) make();
  MPI_Barrier(MPI_COMM_WORLD);
}

TEST_CASE("a thread that may not call MPI is told what to do",
          "[mpi][threads]") {
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  const Status status =
      RunOnRanks(2, kAmpleSeconds, [](auto& transport) -> Status {
        Status in_thread;
        std::thread other(
            [&] { in_thread = transport->AwaitAll("in the background"); });
        other.join();
        return in_thread;
      });
  if (WorldRank() >= 2) return;
  if (level >= MPI_THREAD_SERIALIZED) {
    INFO(Text(status));
    CHECK(status.ok());
  } else {
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(Text(status), Contains("MPI_THREAD_MULTIPLE"));
  }
}

}  // namespace
}  // namespace dcp
