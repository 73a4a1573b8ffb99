#include "base/guarded.h"

#include <catch2/catch.hpp>
#include <cerrno>
#include <new>
#include <stdexcept>
#include <system_error>

namespace dcp {
namespace {

TEST_CASE("what is returned comes through a guard", "[guarded]") {
  CHECK(Guarded([] { return absl::OkStatus(); }).ok());
  CHECK(*Guarded([]() -> StatusOr<int> { return 7; }) == 7);
  const Status missing = NotFound("no such thing");
  CHECK(Guarded([&] { return missing; }) == missing);
}

TEST_CASE("missing memory and threads are resources that are exhausted",
          "[guarded]") {
  const Status memory = Guarded([]() -> Status { throw std::bad_alloc(); });
  CHECK(memory.code() == absl::StatusCode::kResourceExhausted);
  CHECK(Message(memory) == "out of memory");
  CHECK(GetErrorDetail(memory)->error_number == ENOMEM);
  const Status thread =
      Guarded([]() -> StatusOr<int> {
        throw std::system_error(EMFILE, std::generic_category(), "thread");
      }).status();
  CHECK(thread.code() == absl::StatusCode::kResourceExhausted);
  CHECK(GetErrorDetail(thread)->error_number == EMFILE);
}

TEST_CASE("a mistake is not hidden by a guard", "[guarded]") {
  CHECK_THROWS_AS(
      Guarded([]() -> Status { throw std::logic_error("a mistake"); }),
      std::logic_error);
}

}  // namespace
}  // namespace dcp
