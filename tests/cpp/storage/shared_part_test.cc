// A rank's part in shared files, as the coordinator sends it.

#include "storage/shared_part.h"

#include <catch2/catch.hpp>
#include <functional>
#include <limits>
#include <string>

namespace dcp {
namespace {

SharedPart TwoRowsOfFour() {
  return {.files = {{.path = "/m/.dcpcpp-1.0.shard",
                     .name = "model.safetensors",
                     .nbytes = 100,
                     .head = "head",
                     .tensors = {{.begin = 68,
                                  .sizes = {4, 2},
                                  .chunks = {{{{2, 0}, {2, 2}}, 1, 7}}}},
                     .extents = {{.begin = 0, .end = 100, .owner = 1}}}},
          .addresses = {"a", "b"}};
}

TEST_CASE("a part comes back as it was sent", "[storage][shared_part]") {
  const std::string sent = SerializeSharedPart(TwoRowsOfFour());
  const auto parsed = ParseSharedPart(sent);
  REQUIRE(parsed.ok());
  CHECK(*parsed == TwoRowsOfFour());
  for (size_t nbytes = 0; nbytes < sent.size(); ++nbytes) {
    CHECK(ParseSharedPart(std::string_view(sent).substr(0, nbytes))
              .status()
              .code() == absl::StatusCode::kDataLoss);
  }
}

TEST_CASE("a part with bytes outside of its files is refused",
          "[storage][shared_part]") {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const std::vector<std::function<void(SharedPartFile&)>> garblings = {
      [](auto& file) { file.nbytes = 99; },
      [](auto& file) { file.nbytes = -1; },
      [](auto& file) { file.head.resize(101); },
      [](auto& file) { file.tensors[0].begin = 69; },
      [](auto& file) { file.tensors[0].begin = -1; },
      [](auto& file) { file.tensors[0].begin = kMax; },
      [](auto& file) { file.tensors[0].sizes = {4, kMax}; },
      [](auto& file) { file.tensors[0].sizes = {4, kMax / 8}; },
      [](auto& file) { file.tensors[0].chunks[0].rank = -1; },
      [](auto& file) { file.extents[0].begin = -1; },
      [](auto& file) { file.extents[0].begin = 101; },
      [](auto& file) { file.extents[0].end = 101; },
      [](auto& file) { file.extents[0].owner = -1; }};
  for (size_t i = 0; i < garblings.size(); ++i) {
    INFO("garbling " << i);
    SharedPart part = TwoRowsOfFour();
    garblings[i](part.files[0]);
    CHECK(ParseSharedPart(SerializeSharedPart(part)).status().code() ==
          absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace dcp
