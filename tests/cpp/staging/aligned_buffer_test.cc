#include "staging/aligned_buffer.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <utility>

namespace dcp {
namespace {

TEST_CASE("a buffer is aligned to huge pages and writable", "[staging]") {
  auto buffer = AlignedBuffer::Allocate(3 * 4096 + 5);
  REQUIRE(buffer.ok());
  const auto memory = buffer->memory();
  CHECK(memory.size() == 3 * 4096 + 5);
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % (2 << 20) == 0);
  memory.back() = std::byte{1};
}

TEST_CASE("a buffer that was moved from owns nothing", "[staging]") {
  auto first = AlignedBuffer::Allocate(4096);
  REQUIRE(first.ok());
  const auto* data = first->memory().data();
  AlignedBuffer second = std::move(*first);
  CHECK(second.memory().data() == data);
  AlignedBuffer third;
  CHECK(third.memory().empty());
  third = std::move(second);
  CHECK(third.memory().data() == data);
}

TEST_CASE("a buffer that no memory holds is an error", "[staging]") {
  const auto buffer =
      AlignedBuffer::Allocate(std::numeric_limits<size_t>::max() / 2);
  CHECK(buffer.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(Message(buffer.status())),
             Catch::Matchers::Contains("mmap"));
}

}  // namespace
}  // namespace dcp
