#include "format/zstd_transform.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "format/bytes.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string Noise(size_t nbytes) {
  std::mt19937 rng(5);
  std::string data(nbytes, '\0');
  for (char& byte : data) byte = static_cast<char>(rng() % 7);
  return data;
}

TEST_CASE("what was compressed comes back", "[zstd]") {
  for (const size_t nbytes :
       {0UL, 1UL, 1000UL, 131072UL, 1UL << 20, 5UL << 20}) {
    for (const int workers : {0, 2}) {
      const std::string data = Noise(nbytes);
      const auto frame = ZstdCompress(data, {.level = 1, .workers = workers});
      REQUIRE(frame.ok());
      const auto back =
          ZstdDecompress(*frame, static_cast<int64_t>(data.size()));
      INFO(back.status());
      REQUIRE(back.ok());
      CHECK(*back == data);
    }
  }
}

TEST_CASE("pieces of any size give the same content", "[zstd]") {
  const std::string data = Noise(300000);
  const auto frame = ZstdCompress(data);
  REQUIRE(frame.ok());
  for (const size_t piece : {1UL, 7UL, 4096UL}) {
    std::string back;
    ZstdFrameReader reader(
        1 << 20, [&back](std::span<const std::byte> bytes) -> Status {
          back.append(reinterpret_cast<const char*>(bytes.data()),
                      bytes.size());
          return absl::OkStatus();
        });
    for (size_t i = 0; i < frame->size(); i += piece) {
      REQUIRE(reader.Write(AsBytes(std::string_view(*frame).substr(i, piece)))
                  .ok());
    }
    CHECK(reader.Finish().ok());
    CHECK(back == data);
  }
}

TEST_CASE("every truncation of a frame is refused", "[zstd]") {
  const auto frame = ZstdCompress(Noise(2000));
  REQUIRE(frame.ok());
  for (size_t n = 0; n < frame->size(); ++n) {
    CHECK(ZstdDecompress(frame->substr(0, n), 1 << 20).status().code() ==
          absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("bytes that are no frame are refused", "[zstd]") {
  const auto frame = ZstdCompress("data");
  REQUIRE(frame.ok());
  CHECK_FALSE(ZstdDecompress("this is not zstd", 1 << 20).ok());
  CHECK_THAT(
      std::string(Message(ZstdDecompress(*frame + "x", 1 << 20).status())),
      Contains("bytes follow"));
  CHECK_THAT(
      std::string(Message(ZstdDecompress(*frame + *frame, 1 << 20).status())),
      Contains("bytes follow"));
}

TEST_CASE("a frame that expands beyond the cap is refused", "[zstd][bomb]") {
  const auto frame = ZstdCompress(std::string(size_t{64} << 20, 'x'));
  REQUIRE(frame.ok());
  CHECK(frame->size() < 16384);
  const Status status = ZstdDecompress(*frame, 1 << 20).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains("more than is allowed"));
  CHECK(ZstdDecompress(*frame, int64_t{64} << 20).ok());
}

TEST_CASE("an error of the sink ends the stream", "[zstd]") {
  const ByteSink broken = [](std::span<const std::byte>) {
    return Internal("full");
  };
  auto writer = ZstdFrameWriter::Make({}, broken);
  REQUIRE(writer.ok());
  CHECK((*writer)->Write(AsBytes("x")).ok());
  CHECK_THAT(std::string(Message((*writer)->Finish())), Contains("full"));
  ZstdFrameReader reader(100, broken);
  CHECK_THAT(std::string(Message(reader.Write(AsBytes(*ZstdCompress("x"))))),
             Contains("full"));
}

TEST_CASE("a level that zstd does not have is refused", "[zstd]") {
  CHECK(ZstdCompress("x", {.level = 1000}).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
