#include <catch2/catch.hpp>

#include "conformance/transport_conformance.h"
#include "dcp/transport.h"

namespace dcp {
namespace {

TEST_CASE("the transport of one process gives back what it gets", "[comm]") {
  const std::unique_ptr<Transport> transport = MakeSingleProcessTransport();
  CHECK(transport->rank() == 0);
  CHECK(transport->world_size() == 1);
  for (int round = 0; round < 3; ++round) {
    CHECK(ExchangeOnce(*transport, round, 1000).ok());
    CHECK(transport->AwaitAll("write").ok());
  }
  CHECK(transport->Scatter({}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
