#include "storage/space_check.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <limits>
#include <string>
#include <vector>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

std::string Space(int64_t free_nbytes, const std::string& pool) {
  return EncodeSpace(SpaceInfo{.free_nbytes = free_nbytes, .pool = pool});
}

/// A plan of one tensor of about `nbytes`.
SavePlan PlanOfBytes(int64_t nbytes) {
  return PlanOf({WholeItem("t", {nbytes}, DType::kUInt8)});
}

Status Check(const std::vector<SavePlan>& plans,
             const std::vector<std::string>& spaces) {
  return CheckSpace(plans, spaces, std::nullopt, "/ckpt");
}

constexpr int64_t kMany = 1000000;
constexpr int64_t kOverhead = 10000;

TEST_CASE("ranks that share a pool need their space together", "[storage]") {
  const std::vector<SavePlan> plans = {PlanOfBytes(kMany), PlanOfBytes(kMany)};
  const int64_t enough = 2 * (kMany + kOverhead);
  CHECK(Check(plans, {Space(enough, "nfs"), Space(enough, "nfs")}).ok());
  CHECK(Check(plans,
              {Space(kMany + kOverhead, "a"), Space(kMany + kOverhead, "b")})
            .ok());
  const Status status =
      Check(plans, {Space(kMany * 2, "nfs"), Space(kMany * 2, "nfs")});
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(GetErrorDetail(status)->error_number == ENOSPC);
  CHECK_THAT(std::string(Message(status)),
             Catch::Contains("2000000 are free") && Catch::Contains("/ckpt"));
}

TEST_CASE("a rank whose space is unknown is not judged", "[storage]") {
  CHECK(Check({PlanOfBytes(kMany)}, {EncodeSpace(std::nullopt)}).ok());
}

TEST_CASE("more bytes than 64 bits count do not fit anywhere", "[storage]") {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  const Status status =
      Check({PlanOf({WholeItem("a", {kHuge / 2}, DType::kUInt8),
                     WholeItem("b", {kHuge / 2}, DType::kUInt8),
                     WholeItem("c", {kHuge / 2}, DType::kUInt8)})},
            {Space(kHuge - 1, "disk")});
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
}

TEST_CASE("what is no answer of a rank is an error", "[storage]") {
  CHECK_FALSE(Check({PlanOfBytes(1)}, {""}).ok());
  CHECK_FALSE(Check({PlanOfBytes(1)}, {"\x01"}).ok());
  CHECK_FALSE(Check({PlanOfBytes(1)}, {Space(kMany, "a") + "x"}).ok());
}

}  // namespace
}  // namespace dcp
