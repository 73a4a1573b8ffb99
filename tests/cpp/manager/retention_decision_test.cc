// Which steps go: tables.

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "manager/run_folder.h"

namespace dcp {
namespace {

/// Letters, newest first: F full, M the model only, X cannot be loaded, L a
/// link to a full one; a lower case letter is pinned. The oldest is step 1.
std::vector<StepFacts> Steps(const std::string& letters) {
  std::vector<StepFacts> steps;
  for (size_t i = 0; i < letters.size(); ++i) {
    const char upper = static_cast<char>(letters[i] & ~0x20);
    const auto number = static_cast<int64_t>(letters.size() - i);
    steps.push_back(
        {.directory = {.step = number,
                       .path = RunOnDisk::PathOf(number),
                       .is_link = upper == 'L'},
         .extent = upper == 'M' ? StepExtent::kModelOnly : StepExtent::kFull,
         .fault = upper == 'X' ? NotFound("no .metadata") : absl::OkStatus(),
         .is_pinned = letters[i] != upper});
  }
  return steps;
}

/// `letters` with '-' for each step that goes.
std::string After(std::string letters, const RetentionRules& rules) {
  const auto size = static_cast<int64_t>(letters.size());
  const auto decision = DecideRetention(Steps(letters), rules);
  for (const StepDirectory& removed : decision.removed) {
    letters[static_cast<size_t>(size - removed.step)] = '-';
  }
  return letters;
}

TEST_CASE("the newest k steps stay", "[manager][retention]") {
  CHECK(After("FFFFF", {.keep_latest_k = 2}) == "FF---");
  CHECK(After("FFFFF", {.keep_latest_k = 4}) == "FFFF-");
  CHECK(After("FFFFF", {.keep_latest_k = 5}) == "FFFFF");
  CHECK(After("FFFFF", {.keep_latest_k = 10}) == "FFFFF");
  CHECK(After("FFFFF", {.keep_latest_k = 0}) == "FFFFF");
  CHECK(After("", {.keep_latest_k = 2}).empty());
}

TEST_CASE("what cannot be loaded is no step that was kept",
          "[manager][retention]") {
  CHECK(After("XFFFF", {.keep_latest_k = 2}) == "XFF--");
  CHECK(After("XXXXF", {.keep_latest_k = 2}) == "XXXXF");
  CHECK(After("FXFXF", {.keep_latest_k = 2}) == "FXF--");
  CHECK(After("XXXX", {.keep_latest_k = 2}) == "XXXX");
}

TEST_CASE("the newest full step stays behind newer ones of the model only",
          "[manager][retention]") {
  CHECK(After("MFFF", {.keep_latest_k = 2}) == "MF--");
  CHECK(After("MMMFF", {.keep_latest_k = 2}) == "MM-F-");
  CHECK(After("MMXFF", {.keep_latest_k = 2}) == "MMXF-");
  CHECK(After("MMXMX", {.keep_latest_k = 2}) == "MMX-X");
  CHECK(After("MMMM", {.keep_latest_k = 2}) == "MM--");
}

TEST_CASE("pinned steps stay, and count as any other", "[manager][retention]") {
  CHECK(After("FFfFf", {.keep_latest_k = 2}) == "FFf-f");
  CHECK(After("ffFFF", {.keep_latest_k = 2}) == "ff---");
  CHECK(After("FFxFm", {.keep_latest_k = 2}) == "FFx-m");
}

TEST_CASE("links stay, and no step goes because of them",
          "[manager][retention]") {
  CHECK(After("FLFF", {.keep_latest_k = 2}) == "FLF-");
  CHECK(After("LLFFF", {.keep_latest_k = 2}) == "LLFF-");
  CHECK(After("FFFL", {.keep_latest_k = 2}) == "FF-L");
  CHECK(After("LMMFF", {.keep_latest_k = 2}) == "LMMF-");
}

TEST_CASE("steps that are being saved stay and do not count",
          "[manager][retention]") {
  CHECK(After("FFFFF", {.keep_latest_k = 2, .saving = {5}}) == "FFF--");
  CHECK(After("FFFFF", {.keep_latest_k = 2, .saving = {5, 2}}) == "FFFF-");
  CHECK(After("XFFFF", {.keep_latest_k = 2, .saving = {5, 1}}) == "XFF-F");
  CHECK(After("FMMM", {.keep_latest_k = 2, .saving = {4}}) == "FMM-");
}

TEST_CASE("a run that went back keeps what it saved last",
          "[manager][retention]") {
  CHECK(After("FFFFF", {.keep_latest_k = 2, .saved = {2}}) == "FF-F-");
  CHECK(After("FFFMFF", {.keep_latest_k = 2, .saved = {2, 3}}) == "FF-MF-");
  CHECK(After("FFFFF", {.keep_latest_k = 2, .saved = {5}}) == "FF---");
}

/// Why steps are kept, newest first, with "-" for those that go.
std::string ReasonsFor(const std::string& letters,
                       const RetentionRules& rules) {
  const auto decision = DecideRetention(Steps(letters), rules);
  std::string text;
  auto kept = decision.kept.begin();
  for (auto step = static_cast<int64_t>(letters.size()); step > 0; --step) {
    if (!text.empty()) text += ", ";
    if (kept != decision.kept.end() && kept->directory.step == step) {
      text += KeepReasonName(kept++->reason);
    } else {
      text += "-";
    }
  }
  return text;
}

TEST_CASE("it is told why a step is kept", "[manager][retention]") {
  CHECK(ReasonsFor("FFfF", {.keep_latest_k = 2}) ==
        "newest, newest, pinned, -");
  CHECK(ReasonsFor("MXMXFX", {.keep_latest_k = 2}) ==
        "newest, unreadable, newest, unreadable, newest full, -");
  CHECK(
      ReasonsFor("FFFFF", {.keep_latest_k = 2, .saving = {5}, .saved = {1}}) ==
      "in use, newest, newest, -, in use");
  CHECK(ReasonsFor("FFX", {.keep_latest_k = 0}) == "newest, newest, newest");
  CHECK(ReasonsFor("LFlFFL", {.keep_latest_k = 2}) ==
        "linked, newest, linked, newest, -, linked");
}

TEST_CASE("older steps are looked at until they cannot matter",
          "[manager][retention]") {
  const auto is_enough = [](const std::string& letters) {
    return IsEnoughForRetention(Steps(letters), {.keep_latest_k = 2});
  };
  for (const char* few : {"", "F", "FX", "XXXX", "MM", "MMMX", "FL", "LL"}) {
    CAPTURE(few);
    CHECK_FALSE(is_enough(few));
  }
  for (const char* enough : {"FF", "FM", "MF", "XFXM", "MMMF", "LFF"}) {
    CAPTURE(enough);
    CHECK(is_enough(enough));
  }
  CHECK(IsEnoughForRetention({}, {.keep_latest_k = 0}));
}

}  // namespace
}  // namespace dcp
