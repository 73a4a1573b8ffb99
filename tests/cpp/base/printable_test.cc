#include "base/printable.h"

#include <catch2/catch.hpp>
#include <string>

namespace dcp {
namespace {

TEST_CASE("printable ASCII stays as it is, other bytes become escapes",
          "[base]") {
  CHECK(Printable("archive/data.pkl") == "archive/data.pkl");
  CHECK(Printable("a\nb\\'\x85\xff") == "a\\x0ab\\x5c\\x27\\x85\\xff");
  CHECK(Printable(std::string(1, '\0')) == "\\x00");
  CHECK(Printable("") == "");
  CHECK(Printable(std::string(201, 'x')) == std::string(200, 'x') + "...");
}

}  // namespace
}  // namespace dcp
