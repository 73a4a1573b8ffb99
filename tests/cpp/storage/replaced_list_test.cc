#include "storage/replaced_list.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "format/versioned_file.h"

namespace dcp {
namespace {

constexpr VersionedFileKind kKind{.magic = "DCPCPPR\n",
                                  .name = "list of replaced files"};

/// A list of one file, by a version that adds `more` to it.
std::string ListOf(uint32_t version, uint32_t min_reader,
                   const std::string& name, const std::string& more = "") {
  WireWriter out;
  PutVersions(kKind, version, min_reader, &out);
  out.PutVarint(1);
  out.PutString(name);
  out.PutSigned(7);
  for (const char c : more) out.PutU8(static_cast<uint8_t>(c));
  return FinishVersionedFile(std::move(out));
}

absl::StatusCode CodeOf(const std::string& bytes) {
  return ParseReplacedList(bytes).status().code();
}

TEST_CASE("a list of replaced files is read as it was written", "[storage]") {
  const std::vector<ListedFile> files = {
      {.name = "model.safetensors", .nbytes = 7}, {.name = ".x", .nbytes = 0}};
  CHECK(ParseReplacedList(SerializeReplacedList(files)).value() == files);
  CHECK(ParseReplacedList(SerializeReplacedList({})).value().empty());
}

TEST_CASE("a damaged list of replaced files is none", "[storage]") {
  const std::string good = ListOf(1, 1, "a");
  REQUIRE(ParseReplacedList(good).ok());
  for (size_t i = 0; i < good.size(); ++i) {
    INFO("byte " << i);
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    CHECK(CodeOf(bad) == absl::StatusCode::kDataLoss);
    CHECK(CodeOf(good.substr(0, i)) == absl::StatusCode::kDataLoss);
  }
  CHECK(CodeOf(ListOf(1, 1, "a", "more")) == absl::StatusCode::kDataLoss);
  for (const char* name : {"", "..", "a/b", "../a", "/a", "a/"}) {
    INFO(name);
    CHECK(CodeOf(ListOf(1, 1, name)) == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("lists of replaced files of later versions are read, or refused",
          "[storage]") {
  const auto files = ParseReplacedList(ListOf(2, 1, "a", "more"));
  REQUIRE(files.ok());
  CHECK(*files == std::vector<ListedFile>{{.name = "a", .nbytes = 7}});
  CHECK(CodeOf(ListOf(2, 2, "a")) == absl::StatusCode::kFailedPrecondition);
  CHECK(CodeOf(ListOf(1, 2, "a")) == absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace dcp
