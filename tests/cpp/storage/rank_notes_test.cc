#include "storage/rank_notes.h"

#include <catch2/catch.hpp>
#include <string>

namespace dcp {
namespace {

TEST_CASE("the coordinator's notes arrive as they were sent", "[storage]") {
  for (const RankNotes& notes :
       {RankNotes{}, RankNotes{.next_file_index = int64_t{1} << 40},
        RankNotes{.next_file_index = 3, .published = {{}}},
        RankNotes{.published = {{"__0_0.distcp", "__0_17.distcp"}}}}) {
    const std::string sent = SerializeRankNotes(notes);
    const auto received = ParseRankNotes(sent);
    REQUIRE(received.ok());
    CHECK(*received == notes);
    for (size_t n = 0; n < sent.size(); ++n) {
      CHECK_FALSE(ParseRankNotes(sent.substr(0, n)).ok());
    }
    CHECK_FALSE(ParseRankNotes(sent + "x").ok());
  }
}

}  // namespace
}  // namespace dcp
