#include "io/transfer.h"

#include <catch2/catch.hpp>
#include <cerrno>

namespace dcp {
namespace {

constexpr int kFd = 3;
constexpr int kDirectFd = 4;
constexpr int64_t kPage = 4096;

const std::string& Path() {
  static const std::string path = "/ckpt/__0_0.distcp";
  return path;
}

TransferTarget Buffered() { return {.path = &Path(), .fd = kFd}; }

TransferTarget Direct() {
  return {.path = &Path(),
          .fd = kFd,
          .direct_fd = kDirectFd,
          .direct_io = DirectIoAlignment{}};
}

/// An address that is never touched: a Transfer does not look at the bytes.
std::byte* Address(uintptr_t value) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<std::byte*>(value);
}

/// A transfer of one slice, from page 1 of the file and of memory on.
class OneSlice {
 public:
  OneSlice(IoOp op, const TransferTarget& target, int64_t nbytes)
      : slice_{Address(kPage), static_cast<size_t>(nbytes)},
        transfer(op, target, kPage, {&slice_, 1}, nbytes) {}

 private:
  IoSlice slice_;

 public:
  Transfer transfer;
};

TEST_CASE("the rest of a short transfer is the next step", "[transfer]") {
  OneSlice test(IoOp::kRead, Buffered(), 100);
  CHECK(test.transfer.Next().nbytes == 100);
  REQUIRE(test.transfer.OnResult(30).ok());
  const TransferStep step = test.transfer.Next();
  CHECK(step.fd == kFd);
  CHECK(step.byte_offset == kPage + 30);
  CHECK(step.nbytes == 70);
  CHECK(step.iov.front().iov_base == Address(kPage + 30));
  REQUIRE(test.transfer.OnResult(70).ok());
  CHECK(test.transfer.done());
}

TEST_CASE("the rest of a short direct transfer is aligned", "[transfer]") {
  OneSlice test(IoOp::kWrite, Direct(), 5 * kPage);
  CHECK(test.transfer.Next().fd == kDirectFd);
  REQUIRE(test.transfer.OnResult(2 * kPage + 512).ok());
  const TransferStep step = test.transfer.Next();
  CHECK(step.fd == kDirectFd);
  CHECK(step.byte_offset == 3 * kPage);
  CHECK(step.nbytes == 3 * kPage);
}

TEST_CASE("less than a block of a direct transfer is finished buffered",
          "[transfer]") {
  OneSlice test(IoOp::kWrite, Direct(), 2 * kPage);
  (void)test.transfer.Next();
  REQUIRE(test.transfer.OnResult(kPage + 512).ok());
  (void)test.transfer.Next();
  REQUIRE(test.transfer.OnResult(512).ok());
  const TransferStep step = test.transfer.Next();
  CHECK(step.fd == kFd);
  CHECK(step.byte_offset == 2 * kPage);
  CHECK(step.nbytes == kPage);
  CHECK_FALSE(test.transfer.direct_refused());
}

TEST_CASE("only what is aligned goes past the page cache", "[transfer]") {
  const auto fd_of = [](int64_t offset, uintptr_t address, size_t nbytes) {
    const IoSlice slice{Address(address), nbytes};
    return Transfer(IoOp::kRead, Direct(), offset, {&slice, 1},
                    static_cast<int64_t>(nbytes))
        .Next()
        .fd;
  };
  CHECK(fd_of(0, kPage, kPage) == kDirectFd);
  CHECK(fd_of(512, kPage, kPage) == kFd);
  CHECK(fd_of(0, kPage + 8, kPage) == kFd);
  CHECK(fd_of(0, kPage, kPage - 1) == kFd);
}

TEST_CASE("refused direct I/O goes through the page cache", "[transfer]") {
  OneSlice test(IoOp::kRead, Direct(), 2 * kPage);
  (void)test.transfer.Next();
  REQUIRE(test.transfer.OnResult(-EINVAL).ok());
  CHECK(test.transfer.direct_refused());
  CHECK(test.transfer.Next().fd == kFd);
  const Status status = test.transfer.OnResult(-EINVAL);
  CHECK(GetErrorDetail(status)->error_number == EINVAL);
}

TEST_CASE("interrupted and refused steps are tried again, not for ever",
          "[transfer]") {
  const int error = GENERATE(EINTR, EAGAIN, EBUSY);
  OneSlice test(IoOp::kWrite, Buffered(), 10);
  for (int round = 0; round < 2; ++round) {
    for (int i = 1; i < Transfer::kMaxTransientFailures; ++i) {
      CHECK(test.transfer.Next().nbytes == 10 - round);
      REQUIRE(test.transfer.OnResult(-error).ok());
      REQUIRE(test.transfer.transient_failures() == i);
    }
    if (round == 0) REQUIRE(test.transfer.OnResult(1).ok());
  }
  const Status status = test.transfer.OnResult(-error);
  CHECK(GetErrorDetail(status)->error_number == error);
}

TEST_CASE("a failed step says where the transfer stopped", "[transfer]") {
  OneSlice test(IoOp::kWrite, Buffered(), 100);
  (void)test.transfer.Next();
  REQUIRE(test.transfer.OnResult(40).ok());
  (void)test.transfer.Next();
  const Status status = test.transfer.OnResult(-ENOSPC);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK(Message(status) ==
        "pwrite /ckpt/__0_0.distcp [offset=4136 B, n=60 B]: No space left on "
        "device");
}

TEST_CASE("moving nothing is the end of a file or an error", "[transfer]") {
  OneSlice read(IoOp::kRead, Buffered(), 100);
  (void)read.transfer.Next();
  REQUIRE(read.transfer.OnResult(40).ok());
  (void)read.transfer.Next();
  const Status end = read.transfer.OnResult(0);
  CHECK(end.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(end)), Catch::Contains("file ends at 4136 B"));

  OneSlice write(IoOp::kWrite, Buffered(), 100);
  (void)write.transfer.Next();
  const Status stuck = write.transfer.OnResult(0);
  CHECK(GetErrorDetail(stuck)->error_number == EIO);
  CHECK_THAT(std::string(Message(stuck)), Catch::Contains("moved no bytes"));
}

TEST_CASE("a kernel that moves more than it was asked is not believed",
          "[transfer]") {
  OneSlice test(IoOp::kRead, Buffered(), 100);
  (void)test.transfer.Next();
  CHECK(test.transfer.OnResult(101).code() == absl::StatusCode::kInternal);
}

TEST_CASE("a step respects the limits of a system call", "[transfer]") {
  constexpr int64_t kHuge = 5 * Transfer::kMaxStepNbytes;
  OneSlice huge(IoOp::kWrite, Direct(), kHuge);
  const TransferStep step = huge.transfer.Next();
  CHECK(step.nbytes == Transfer::kMaxStepNbytes);
  CHECK(step.nbytes <= 0x7ffff000);
  REQUIRE(huge.transfer.OnResult(step.nbytes).ok());
  CHECK(huge.transfer.Next().fd == kDirectFd);
  CHECK(huge.transfer.Next().byte_offset == kPage + step.nbytes);

  const std::vector<IoSlice> many(3000, IoSlice{Address(kPage), 1});
  Transfer transfer(IoOp::kRead, Buffered(), 0, many, 3000);
  CHECK(transfer.Next().iov.size() == Transfer::kMaxStepSlices);
}

}  // namespace
}  // namespace dcp
