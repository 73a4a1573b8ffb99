#include "format/sidecar.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>

#include "base/checksum.h"
#include "format/bytes.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

Sidecar Example() {
  return {.save_id = "dcpcpp-0123456789abcdef",
          .step = -7,
          .metadata_nbytes = 954,
          .metadata_crc32 = 0xdeadbeef,
          .files = {{.name = "__0_0.distcp",
                     .nbytes = (int64_t{2} << 20) + 5,
                     .block_crcs = {1, 2, 0xffffffff},
                     .items = {{.offset = 0, .length = 1261},
                               {.offset = 1280,
                                .length = 1 << 20,
                                .data_offset = 2816,
                                .data_nbytes = 1000000}}},
                    {.name = "__12_3.distcp"}}};
}

/// Replaces bytes and makes the CRC fit again.
std::string Patched(std::string data, size_t at, std::string_view bytes) {
  data.replace(at, bytes.size(), bytes);
  data.resize(data.size() - 4);
  const uint32_t crc = Crc32(0, AsBytes(data));
  return data.append(reinterpret_cast<const char*>(&crc), 4);
}

Status StatusOf(const Sidecar& sidecar) {
  return ParseSidecar(SerializeSidecar(sidecar)).status();
}

TEST_CASE("a sidecar comes back as written", "[sidecar]") {
  Sidecar sidecar = Example();
  CHECK(*ParseSidecar(SerializeSidecar(sidecar)) == sidecar);
  sidecar.step.reset();
  sidecar.files.clear();
  CHECK(*ParseSidecar(SerializeSidecar(sidecar)) == sidecar);
}

TEST_CASE("a sidecar without an index is of version 1, as it always was",
          "[sidecar]") {
  Sidecar sidecar = Example();
  CHECK(SerializeSidecar(sidecar)[8] == 1);
  sidecar.index = {.nbytes = 1234567, .crc32 = 0xfeedf00d};
  const std::string data = SerializeSidecar(sidecar);
  CHECK(data[8] == 2);
  CHECK(data[12] == 1);  // readers of version 1 ignore what is appended
  CHECK(*ParseSidecar(data) == sidecar);
  for (size_t n = 0; n < data.size(); ++n) {
    REQUIRE_FALSE(ParseSidecar(data.substr(0, n)).ok());
  }
  // Neither 0 nor 1.
  CHECK_FALSE(ParseSidecar(Patched(data, data.size() - 12, "\2")).ok());
}

TEST_CASE("a sidecar of 100,000 items comes back as written", "[sidecar]") {
  Sidecar sidecar = Example();
  SidecarFile& file = sidecar.files[1];
  std::mt19937_64 rng(1);
  for (int i = 0; i < 100000; ++i) {
    const auto length = static_cast<int64_t>(2000 + rng() % 1000000);
    file.items.push_back({.offset = file.nbytes,
                          .length = length,
                          .data_offset = 704,
                          .data_nbytes = length - 1600});
    file.nbytes += (length + 63) / 64 * 64;
  }
  for (int64_t i = 0; i < SidecarBlockCount(file.nbytes); ++i) {
    file.block_crcs.push_back(static_cast<uint32_t>(rng()));
  }
  const std::string data = SerializeSidecar(sidecar);
  CHECK(data.size() < 1'600'000);
  CHECK(*ParseSidecar(data) == sidecar);
}

TEST_CASE("every truncation and every flipped bit is refused", "[sidecar]") {
  const std::string data = SerializeSidecar(Example());
  for (size_t n = 0; n < data.size(); ++n) {
    REQUIRE(ParseSidecar(data.substr(0, n)).status().code() ==
            absl::StatusCode::kDataLoss);
  }
  for (size_t i = 0; i < 8 * data.size(); ++i) {
    std::string damaged = data;
    damaged[i / 8] = static_cast<char>(damaged[i / 8] ^ (1 << (i % 8)));
    REQUIRE(ParseSidecar(damaged).status().code() ==
            absl::StatusCode::kDataLoss);
  }
  CHECK_FALSE(ParseSidecar(data + "x").ok());
}

TEST_CASE("a sidecar lists safetensors files as well", "[sidecar]") {
  Sidecar sidecar = Example();
  sidecar.files[0].name = "model-00001-of-00002.safetensors";
  sidecar.files[1].name = "model.safetensors";
  CHECK(*ParseSidecar(SerializeSidecar(sidecar)) == sidecar);
  sidecar.files[1].name = "sub/model.safetensors";
  CHECK_THAT(std::string(Message(StatusOf(sidecar))), Contains("data file"));
}

TEST_CASE("contents that do not fit together are refused", "[sidecar]") {
  Sidecar sidecar = Example();
  SECTION("no save id of dcp") {
    sidecar.save_id = "0123";
    CHECK_THAT(std::string(Message(StatusOf(sidecar))), Contains("save id"));
  }
  SECTION("a path as a file's name") {
    sidecar.files[0].name = "../__0_0.distcp";
    CHECK_THAT(std::string(Message(StatusOf(sidecar))), Contains("data file"));
  }
  SECTION("a file twice") {
    sidecar.files[1] = sidecar.files[0];
    CHECK_THAT(std::string(Message(StatusOf(sidecar))), Contains("twice"));
  }
  SECTION("an item beyond its file") {
    sidecar.files[0].items[1].length = 2 << 20;
    CHECK_THAT(std::string(Message(StatusOf(sidecar))), Contains("item"));
  }
  SECTION("data beyond its item") {
    sidecar.files[0].items[1].data_nbytes = 1 << 20;
    CHECK_THAT(std::string(Message(StatusOf(sidecar))), Contains("item"));
  }
  SECTION("a file that is larger than its checksums") {
    sidecar.files[1].nbytes = int64_t{1} << 50;
    CHECK(StatusOf(sidecar).code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("a newer file is read if its writer allows that", "[sidecar]") {
  const std::string data = SerializeSidecar(Example());
  // Version 3 with something appended; minimum reader still 1.
  std::string newer = data;
  newer.insert(newer.size() - 4, Bytes("\0appended"));
  CHECK(*ParseSidecar(Patched(newer, 8, Bytes("\3\0\0\0"))) == Example());
  // In version 2, and in 1, the same is damage.
  CHECK_FALSE(ParseSidecar(Patched(newer, 8, Bytes("\2\0\0\0"))).ok());
  CHECK_FALSE(ParseSidecar(Patched(newer, 8, Bytes("\1\0\0\0"))).ok());
  // Version 3 that needs a reader of version 3.
  const Status refused =
      ParseSidecar(Patched(data, 8, Bytes("\3\0\0\0\3\0\0\0"))).status();
  CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(refused)), Contains("upgrade"));
}

TEST_CASE("the number of blocks covers the file", "[sidecar]") {
  CHECK(SidecarBlockCount(0) == 0);
  CHECK(SidecarBlockCount(1) == 1);
  CHECK(SidecarBlockCount(1 << 20) == 1);
  CHECK(SidecarBlockCount((1 << 20) + 1) == 2);
}

}  // namespace
}  // namespace dcp
