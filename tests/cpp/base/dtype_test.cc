#include "dcp/dtype.h"

#include <catch2/catch.hpp>
#include <set>

namespace dcp {
namespace {

TEST_CASE("dtype names and codes are unique and parse back", "[dtype]") {
  std::set<std::string_view> names;
  for (const DTypeInfo& info : AllDTypes()) {
    CHECK(names.insert(info.name).second);
    CHECK(ParseDType(info.name) == info.dtype);
    CHECK(DTypeFromCode(static_cast<uint8_t>(info.dtype)) == info.dtype);
    CHECK(ItemSize(info.dtype) > 0);
  }
  CHECK(ParseDType("float31") == std::nullopt);
  CHECK(DTypeFromCode(0) == std::nullopt);
  CHECK(DTypeFromCode(255) == std::nullopt);
}

}  // namespace
}  // namespace dcp
