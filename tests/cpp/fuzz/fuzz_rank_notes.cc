// The coordinator's notes for each rank: whatever is accepted can be sent
// again.

#include <string_view>

#include "fuzz/fuzz_target.h"
#include "storage/rank_notes.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  return {
      SerializeRankNotes({}),
      SerializeRankNotes({.next_file_index = 3, .published = {{}}}),
      SerializeRankNotes({.published = {{"__0_0.distcp", "__0_17.distcp"}}})};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto notes = dcp::ParseRankNotes(input);
  if (!notes.ok()) return 0;
  const auto again = dcp::ParseRankNotes(dcp::SerializeRankNotes(*notes));
  dcp::Require(again.ok() && *again == *notes, "a round trip changes nothing");
  return 0;
}
