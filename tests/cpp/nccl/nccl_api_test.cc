#include "nccl/nccl_api.h"

#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <string>

#include "dcp/nccl_transport.h"
#include "nccl/stand_in_nccl.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

// ncclConfig_t of nccl.h 2.18 (size_t, 6 ints, a pointer, an int).
static_assert(offsetof(NcclConfig, blocking) == 16);
static_assert(offsetof(NcclConfig, net_name) == 32);
static_assert(offsetof(NcclConfig, split_share) == 40);
static_assert(sizeof(NcclConfig) == 48);

std::string Text(const Status& status) { return std::string(Message(status)); }

void* LoadStandIn() {
  void* const library = dlopen(DCP_STAND_IN_NCCL, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  return library;
}

/// What FindNccl says of an NCCL of this version.
Status FindVersion(int version) {
  const auto state = reinterpret_cast<StandInNcclStateFunction>(
      dlsym(LoadStandIn(), "stand_in_nccl_state"));
  state()->version = version;
  return FindNccl("").status();
}

TEST_CASE("the NCCL that is loaded is found, by its name or its file",
          "[nccl]") {
  LoadStandIn();
  CHECK(FindNccl("").ok());
  CHECK(FindNccl("libnccl.so.2").ok());
  CHECK(FindNccl(DCP_STAND_IN_NCCL).ok());
}

TEST_CASE("an NCCL that is not loaded made no communicator", "[nccl]") {
  const Status status = FindNccl("/nowhere/libnccl.so.2").status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Text(status), Contains("/nowhere/libnccl.so.2") &&
                               Contains("is not loaded in this process"));
}

TEST_CASE("a library that is no NCCL is refused", "[nccl]") {
  REQUIRE(dlopen(DCP_STAND_IN_DRIVER, RTLD_NOW | RTLD_LOCAL) != nullptr);
  const Status status = FindNccl(DCP_STAND_IN_DRIVER).status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Text(status), Contains("does not tell its version"));
}

TEST_CASE("versions of NCCL that cannot split are named", "[nccl]") {
  for (const auto& [version, name] :
       {std::pair{21701, "2.17.1"}, {2804, "2.8.4"}, {30000, "3.0.0"}}) {
    const Status status = FindVersion(version);
    CHECK(status.code() == absl::StatusCode::kUnimplemented);
    CHECK_THAT(Text(status), Contains(name) && Contains("2.18 or later"));
  }
  CHECK(FindVersion(21800).ok());
  CHECK(FindVersion(23203).ok());
}

TEST_CASE("what is no communicator is refused", "[nccl]") {
  CHECK(MakeNcclTransport(nullptr).status().code() ==
        absl::StatusCode::kInvalidArgument);
  auto* const comm = static_cast<ncclComm*>(LoadStandIn());
  CHECK(MakeNcclTransport(comm, {.timeout_seconds = 0}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("without CUDA there is no transport over NCCL", "[nccl]") {
  auto* const comm = static_cast<ncclComm*>(LoadStandIn());
  const Status status =
      MakeNcclTransport(comm, {.cuda_library = "libcuda-of-nobody.so.1"})
          .status();
  CHECK(status.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(Text(status), Contains("libcuda-of-nobody.so.1 not found"));
}

}  // namespace
}  // namespace dcp
