#include "mapping/number_expr.h"

#include <catch2/catch.hpp>

namespace dcp {
namespace {

const ModelNumbers kNumbers{{"heads", 6}, {"dim", 48}, {"none", 0}};

StatusOr<int64_t> ValueOf(std::string_view text) {
  const auto parsed = NumberExpr::Parse(text);
  REQUIRE(parsed.ok());
  return parsed->ValueOf(kNumbers);
}

TEST_CASE("sizes are numbers, names of them, and their products", "[mapping]") {
  CHECK(ValueOf("7").value() == 7);
  CHECK(ValueOf("heads").value() == 6);
  CHECK(ValueOf("dim/heads").value() == 8);
  CHECK(ValueOf("2*dim/heads").value() == 16);
  CHECK(ValueOf("heads*heads").value() == 36);
  CHECK(NumberExpr(4).ValueOf({}).value() == 4);
}

TEST_CASE("what is no size is refused", "[mapping]") {
  for (const char* text : {"missing", "heads*missing", "dim/5", "dim/none",
                           "none", "heads/dim", "dim*9223372036854775807"}) {
    CAPTURE(text);
    CHECK(ValueOf(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
  for (const char* text : {"", "*", "heads*", "/heads"}) {
    CAPTURE(text);
    CHECK_FALSE(NumberExpr::Parse(text).ok());
  }
}

TEST_CASE("one size of several is what the others leave", "[mapping]") {
  const std::vector<NumberExpr> sizes{NumberExpr(2), NumberExpr(-1),
                                      NumberExpr(3)};
  CHECK(sizes[1].is_rest());
  CHECK_FALSE(sizes[0].is_rest());
  CHECK(ResolveProduct(sizes, 24, {}).value() == Dims{2, 4, 3});
  CHECK_FALSE(ResolveProduct(sizes, 25, {}).ok());
  CHECK(ResolveSum(sizes, 12, {}).value() == std::vector<int64_t>{2, 7, 3});
  CHECK_FALSE(ResolveSum(sizes, 5, {}).ok());
  CHECK_FALSE(ResolveSum(sizes, 4, {}).ok());
  const std::vector<NumberExpr> two(2, NumberExpr(-1));
  CHECK_FALSE(ResolveProduct(two, 4, {}).ok());
  const std::vector<NumberExpr> fixed(2, NumberExpr(3));
  CHECK(ResolveSum(fixed, 6, {}).value() == std::vector<int64_t>{3, 3});
  CHECK_FALSE(ResolveSum(fixed, 7, {}).ok());
  CHECK_FALSE(ResolveProduct(fixed, 10, {}).ok());
}

}  // namespace
}  // namespace dcp
