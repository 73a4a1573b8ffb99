#include "staging/aligned_buffer.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "staging/huge_pages.h"

namespace dcp {
namespace {

/// Remembers what is registered, and can do nothing else.
class RegisteringEngine final : public IoEngine {
 public:
  std::string_view name() const override { return "registering"; }
  int queue_depth() const override { return 1; }
  bool RegisterBuffer(IoSlice buffer) override {
    registered.push_back(buffer);
    return true;
  }
  Status Submit(const IoRequest&) override { return Refuse(); }
  StatusOr<IoCompletion> Wait() override { return Refuse(); }
  StatusOr<std::optional<IoCompletion>> Poll() override { return Refuse(); }

  std::vector<IoSlice> registered;

 private:
  static Status Refuse() {
    return MakeStatus(absl::StatusCode::kUnimplemented, "it only registers");
  }
};

TEST_CASE("only whole huge pages of a buffer are registered", "[staging]") {
  const size_t nbytes = GENERATE(size_t{4} << 20, (size_t{4} << 20) + 16384,
                                 (size_t{3} << 20) + 1);
  RegisteringEngine engine;
  AlignedBuffer buffer;
  REQUIRE(RequireBuffer(nbytes, &engine, buffer).ok());
  REQUIRE(engine.registered.size() == 1);
  const IoSlice registered = engine.registered[0];
  CHECK(registered.data == buffer.memory().data());
  CHECK(registered.nbytes % kHugePage == 0);
  // Kept buffers may be larger than what is asked for.
  CHECK(registered.nbytes + kHugePage > buffer.memory().size());
  // It has its memory then.
  REQUIRE(RequireBuffer(nbytes, &engine, buffer).ok());
  CHECK(engine.registered.size() == 1);
}

TEST_CASE("a buffer without a whole huge page is registered", "[staging]") {
  RegisteringEngine engine;
  AlignedBuffer buffer;
  REQUIRE(RequireBuffer(size_t{64} << 10, &engine, buffer).ok());
  REQUIRE(engine.registered.size() == 1);
  CHECK(engine.registered[0].nbytes == buffer.memory().size());
}

TEST_CASE("a buffer is aligned to huge pages and writable", "[staging]") {
  auto buffer = AlignedBuffer::Allocate(3 * 4096 + 5);
  REQUIRE(buffer.ok());
  const auto memory = buffer->memory();
  CHECK(memory.size() == 3 * 4096 + 5);
  CHECK(reinterpret_cast<uintptr_t>(memory.data()) % kHugePage == 0);
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
