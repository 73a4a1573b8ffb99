#include <catch2/catch.hpp>

#include "plan/plan_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

Status Validate(Dims size, std::vector<Box> chunks,
                CoverageRule coverage = CoverageRule::kRequireFull) {
  Metadata metadata;
  metadata.Add("object", BytesStorageMetadata{});
  metadata.Add("w", TensorOf(std::move(size), std::move(chunks)));
  return ValidateChunks(metadata, coverage);
}

void CheckFault(const Status& status, const std::string& what) {
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)), Contains("w of shape"));
  CHECK_THAT(std::string(Message(status)), Contains(what));
}

TEST_CASE("chunks that cover a tensor once are valid", "[validate]") {
  CHECK(Validate({4, 6}, GridChunks({4, 6}, {3, 4})).ok());
  CHECK(Validate({41, 41}, SpiralChunks(20)).ok());
  CHECK(Validate({}, {Box{}}).ok());
  CHECK(Validate({0, 3}, {}).ok());
  CHECK(Validate({0, 3}, {WholeBox({0, 3})}).ok());
  const Box empty{.offsets = {4, 0}, .sizes = {0, 6}};
  CHECK(Validate({4, 6}, {WholeBox({4, 6}), empty, empty}).ok());
  Random random(1);
  for (int trial = 0; trial < 300; ++trial) {
    const Dims sizes = random.Sizes(4, 20);
    CHECK(Validate(sizes, RandomPartition(&random, sizes, 40)).ok());
  }
}

TEST_CASE("gaps are an error unless they are allowed", "[validate]") {
  std::vector<Box> chunks = GridChunks({4, 6}, {3, 4});
  chunks.pop_back();
  CheckFault(Validate({4, 6}, chunks), "hold 22 of 24 elements");
  CHECK(Validate({4, 6}, chunks, CoverageRule::kAllowGaps).ok());
  CheckFault(Validate({}, {}), "hold 0 of 1 elements");
}

TEST_CASE("overlaps name both chunks", "[validate]") {
  const Box a{.offsets = {0, 0}, .sizes = {3, 6}};
  const Box b{.offsets = {2, 5}, .sizes = {2, 1}};
  for (CoverageRule rule :
       {CoverageRule::kRequireFull, CoverageRule::kAllowGaps}) {
    const Status status = Validate({4, 6}, {a, b}, rule);
    CheckFault(status, "overlapping");
    CheckFault(status, ToString(a));
    CheckFault(status, ToString(b));
  }
  CheckFault(Validate({}, {Box{}, Box{}}), "overlapping");
}

TEST_CASE("chunks out of bounds are named", "[validate]") {
  const Box outside{.offsets = {2, 0}, .sizes = {3, 6}};
  CheckFault(Validate({4, 6}, {outside}, CoverageRule::kAllowGaps),
             ToString(outside));
  const Box of_another_ndim{.offsets = {0}, .sizes = {4}};
  CheckFault(Validate({4, 6}, {of_another_ndim}), "out of its bounds");
  const Box negative{.offsets = {-1, 0}, .sizes = {1, 1}};
  CheckFault(Validate({4, 6}, {negative}), "out of its bounds");
}

TEST_CASE("impossible sizes are refused", "[validate]") {
  CheckFault(Validate({-1}, {}), "impossible size");
  const int64_t big = int64_t{1} << 40;
  CheckFault(Validate({big, big}, {}), "impossible size");
}

TEST_CASE("ten faults are named and the others counted", "[validate]") {
  Metadata metadata;
  for (int i = 0; i < 15; ++i) {
    metadata.Add("key" + std::to_string(i), TensorOf({1}, {}));
  }
  const Status status = ValidateChunks(metadata, CoverageRule::kRequireFull);
  CHECK_THAT(std::string(Message(status)), Contains("key9 of shape"));
  CHECK_THAT(std::string(Message(status)), !Contains("key10"));
  CHECK_THAT(std::string(Message(status)), Contains("and 5 more tensors"));
}

// What compared all pairs would not end within the test's time.
TEST_CASE("a million chunks of a grid are validated", "[validate]") {
  std::vector<Box> chunks = GridChunks({3000, 2000}, {3, 2});
  REQUIRE(chunks.size() == 1'000'000);
  Metadata metadata;
  metadata.Add("w", TensorOf({3000, 2000}, std::move(chunks)));
  CHECK(ValidateChunks(metadata, CoverageRule::kRequireFull).ok());
}

}  // namespace
}  // namespace dcp
