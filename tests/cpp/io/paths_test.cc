#include "io/paths.h"

#include <catch2/catch.hpp>

#include "dcp/file_system.h"

namespace dcp {
namespace {

TEST_CASE("names that checkpoints use are accepted", "[paths]") {
  const std::string path =
      GENERATE(as<std::string>(), "__0_0.distcp", ".metadata",
               "a/b/c/d/e/f/g/h", "model-00001-of-00002.safetensors", "...",
               "größe/模型.distcp", std::string(255, 'x'), "😀");
  INFO(path);
  CHECK(ValidateRelativePath(path).ok());
}

TEST_CASE("names that lead elsewhere are refused with the reason", "[paths]") {
  const auto [path, reason] = GENERATE(table<std::string, std::string>({
      {"", "is empty"},
      {"/etc/passwd", "is absolute"},
      {"..", "'.' or '..'"},
      {"a/../b", "'.' or '..'"},
      {"./a", "'.' or '..'"},
      {"a//b", "empty component"},
      {"a/", "empty component"},
      {"a/b/c/d/e/f/g/h/i", "more than 8"},
      {std::string(256, 'x'), "more than 255"},
      {std::string("a\0b", 3), "forbidden"},
      {"a\\b", "forbidden"},
      {"a b", "forbidden"},
      {"a\nb", "forbidden"},
      {"a\x7f", "forbidden"},
      {"c:x", "forbidden"},
      {"\xc2\x85", "forbidden"},  // a C1 control
      {"a\xe2\x80\xae"
       "b",
       "forbidden"},                   // right-to-left override
      {"a\xe2\x80\x8b", "forbidden"},  // zero-width space
      {"\xef\xbb\xbf"
       "a",
       "forbidden"},                  // byte order mark
      {"\xc0\xae\xc0\xae", "UTF-8"},  // ".." in an overlong form
      {"\xe0\x80\xaf", "UTF-8"},      // "/" in another
      {"\xed\xa0\x80", "forbidden"},  // a surrogate
      {"\xf5\x80\x80\x80", "UTF-8"},
      {"a\xff", "UTF-8"},
      {"\xe2\x82", "UTF-8"},
      {"\x80", "UTF-8"},
      {"\xc3(", "UTF-8"},
  }));
  INFO(path);
  const Status status = ValidateRelativePath(path);
  CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(status)), Catch::Contains(reason));
}

TEST_CASE("a refused name is quoted so that a terminal survives it",
          "[paths]") {
  CHECK(Message(ValidateRelativePath("a\x1b[2J'\\")) ==
        "file name 'a\\x1b[2J\\x27\\x5c' has a forbidden character");
  const Status longer = ValidateRelativePath(std::string(5000, ' '));
  CHECK(Message(longer).size() < 300);
}

TEST_CASE("a path below a directory is what follows it", "[paths]") {
  CHECK(PathBelow("/a/b/c", "/a/b") == "c");
  CHECK(PathBelow("/a/b//c/d", "/a/b/") == "c/d");
  CHECK(PathBelow("/a", "/") == "a");
  CHECK(PathBelow("a/b", "a") == "b");
  CHECK(PathBelow("/a/bc", "/a/b") == std::nullopt);
  CHECK(PathBelow("/a/b/", "/a/b") == std::nullopt);
  CHECK(PathBelow("/a/b", "/a/b") == std::nullopt);
  CHECK(PathBelow("/x", "/a/b") == std::nullopt);
}

TEST_CASE("a path has a parent and a last name", "[paths]") {
  CHECK(ParentPath("/a/b//") == "/a");
  CHECK(ParentPath("/a//b") == "/a");
  CHECK(ParentPath("/a") == "/");
  CHECK(ParentPath("a/b") == "a");
  CHECK(ParentPath("a") == ".");
  CHECK(ParentPath("/").empty());
  CHECK(ParentPath("").empty());
  CHECK(LastName("/a/b//") == "b");
  CHECK(LastName("/a/..") == "..");
  CHECK(LastName("a") == "a");
  CHECK(LastName("//").empty());
}

TEST_CASE("paths are split and joined", "[paths]") {
  using Parts = std::vector<std::string>;
  CHECK(SplitPath("/a/./b//../c/") == Parts{"a", "b", "..", "c"});
  CHECK(NormalizedParts("/a/./b//../c/") == Parts{"a", "c"});
  CHECK(NormalizedParts("../../a") == Parts{"a"});
  CHECK(JoinPath("/ckpt", ".metadata") == "/ckpt/.metadata");
  CHECK(JoinPath("/ckpt/", "x") == "/ckpt/x");
  CHECK(JoinPath("", "x") == "x");
  CHECK(JoinPath("/", "x") == "/x");
}

}  // namespace
}  // namespace dcp
