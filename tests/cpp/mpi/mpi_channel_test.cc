#include "mpi/mpi_channel.h"

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "mpi/mpi_ranks.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

/// What rank 0's channel says of `bytes` that rank 1 sends past its own.
Status Receive(const std::string& bytes) {
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, WorldRank() < 2 ? 0 : 1, 0, &comm);
  Status status;
  if (WorldRank() == 1) {
    MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, 0, 1,
             comm);
  }
  if (WorldRank() == 0) {
    const auto channel = MpiChannel::Make(comm);
    status = channel.status();
    while (status.ok()) status = (*channel)->Progress().status();
  }
  MPI_Barrier(MPI_COMM_WORLD);
  return status;
}

/// An envelope as version `version` of the protocol makes it.
std::string Envelope(uint32_t version) {
  std::string bytes(24, '\0');
  const uint64_t magic = 0x69706d2d70636400;
  std::memcpy(bytes.data(), &magic, sizeof(magic));
  std::memcpy(bytes.data() + 8, &version, sizeof(version));
  return bytes;
}

TEST_CASE("what is no message of libdcp names its sender", "[mpi]") {
  const std::array<std::string, 4> garbage = {
      std::string("short"), std::string(24, 'x'), std::string(100, 'x'),
      Envelope(2)};
  for (const std::string& bytes : garbage) {
    const Status status = Receive(bytes);
    if (WorldRank() != 0) continue;
    CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
    CHECK_THAT(std::string(Message(status)), Contains("rank 1"));
  }
}

TEST_CASE("a rank with another version of the protocol is told so", "[mpi]") {
  const Status status = Receive(Envelope(2));
  if (WorldRank() != 0) return;
  CHECK_THAT(std::string(Message(status)),
             Contains("speaks version 2") && Contains("the same libdcp"));
}

}  // namespace
}  // namespace dcp
