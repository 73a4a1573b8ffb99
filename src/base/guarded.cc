#include "base/guarded.h"

#include <cerrno>
#include <new>
#include <system_error>

namespace dcp {
namespace {

/// `make()`, or if there is no memory for a message, a status without one.
template <typename Make>
Status OrWithoutMessage(const Make& make) {
  try {
    return make();
  } catch (const std::bad_alloc&) {
    return MakeStatus(absl::StatusCode::kResourceExhausted, {});
  }
}

}  // namespace

Status StatusOfException() {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return OrWithoutMessage([] {
      return WithDetail(
          MakeStatus(absl::StatusCode::kResourceExhausted, "out of memory"),
          {.error_number = ENOMEM});
    });
  } catch (const std::system_error& error) {
    return OrWithoutMessage([&] {
      return ErrnoToStatus(error.code().value(), {.op = error.what()});
    });
  }
}

}  // namespace dcp
