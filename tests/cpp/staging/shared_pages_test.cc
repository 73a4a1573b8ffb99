#include "staging/shared_pages.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <utility>

#include "conformance/check_files.h"

namespace dcp {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

std::unique_ptr<SharedPages> MakePages() {
  auto pages = SharedPages::Make();
  REQUIRE(pages.ok());
  return *std::move(pages);
}

/// What somebody else sees who has the descriptor.
std::byte ByteAt(const SharedPages& pages, int64_t offset) {
  std::byte byte{};
  REQUIRE(::pread(pages.fd(), &byte, 1, offset) == 1);
  return byte;
}

TEST_CASE("shared memory is where its offset says, in the segment",
          "[staging]") {
  const auto pages = MakePages();
  const auto first = pages->Map(3 * kMiB).value();
  const auto second = pages->Map(5 * kMiB).value();
  CHECK(reinterpret_cast<uintptr_t>(first.data()) % (2 * kMiB) == 0);
  CHECK(reinterpret_cast<uintptr_t>(second.data()) % (2 * kMiB) == 0);
  std::memset(first.data(), 1, first.size());
  std::memset(second.data(), 2, second.size());
  CHECK(ByteAt(*pages, pages->OffsetOf(&first.back())) == std::byte{1});
  CHECK(ByteAt(*pages, pages->OffsetOf(&second.front())) == std::byte{2});
}

TEST_CASE("shared memory that was given back is there again, and empty",
          "[staging]") {
  const auto pages = MakePages();
  const auto first = pages->Map(4 * kMiB).value();
  const auto second = pages->Map(4 * kMiB).value();
  std::memset(first.data(), 1, first.size());
  std::memset(second.data(), 2, second.size());
  // The end of one and the beginning of the other.
  pages->Unmap({first.data() + 2 * kMiB, 4 * kMiB});
  CHECK(ByteAt(*pages, 3 * kMiB) == std::byte{0});
  const auto third = pages->Map(4 * kMiB).value();
  CHECK(third.data() == first.data() + 2 * kMiB);
  CHECK(third[0] == std::byte{0});
  CHECK(first[0] == std::byte{1});
  CHECK(second[3 * kMiB] == std::byte{2});
}

TEST_CASE("shared memory that there is not is refused", "[staging]") {
  const auto pages = MakePages();
  const auto refused = pages->Map(size_t{1} << 60);
  CHECK(refused.status().code() == absl::StatusCode::kResourceExhausted);
  CHECK(pages->Map(kMiB).ok());
}

TEST_CASE("shared memory has no more than it was made with", "[staging]") {
  const auto pages = SharedPages::Make(4 * kMiB).value();
  CHECK(pages->Map(4 * kMiB + 1).status().code() ==
        absl::StatusCode::kResourceExhausted);
  CHECK(pages->Map(4 * kMiB).ok());
}

TEST_CASE("where files are limited shared memory is refused, nobody killed",
          "[staging]") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const rlimit low{.rlim_cur = 3 * kMiB, .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &low) == 0);
  const Status refused = SharedPages::Make(4 * kMiB).status();
  const bool is_enough = SharedPages::Make(2 * kMiB).ok();
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(refused.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(Message(refused)),
             Catch::Matchers::Contains("3145728 B in this process"));
  CHECK(is_enough);
}

TEST_CASE("an arena of shared memory serves leases", "[staging]") {
  auto made = MakePages();
  const SharedPages& pages = *made;
  HostArena arena(std::move(made));
  const ArenaRequest request{.nbytes = 10 * kMiB,
                             .max_nbytes = int64_t{1} << 40};
  int64_t offset = 0;
  {
    const auto lease = arena.TryTake(request);
    REQUIRE(lease.ok());
    offset = pages.OffsetOf(lease->memory().data());
  }
  const auto again = arena.TryTake(request);
  CHECK(pages.OffsetOf(again->memory().data()) == offset);
}

TEST_CASE("a forked child does not have the memory", "[staging]") {
  const auto pages = MakePages();
  const auto memory = pages->Map(kMiB).value();
  const pid_t child = ::fork();
  if (child == 0) {
    unsigned char there = 0;
    ::_exit(::mincore(memory.data(), 4096, &there) == 0 ? 1 : 0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace
}  // namespace dcp
