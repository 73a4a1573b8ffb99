// `.metadata`: whatever is accepted can be written and read again, and what the
// scanner reads, the parser reads alike.

#include <string_view>

#include "format/metadata_parser.h"
#include "format/metadata_scanner.h"
#include "format/pickle_reader.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() { return MetadataSeeds(); }
std::vector<std::string> FuzzDictionary() { return PickleDictionary(); }

namespace {

bool Equal(const Metadata& a, const Metadata& b) {
  return a.entries() == b.entries() && a.storage_data == b.storage_data &&
         a.planner_data == b.planner_data && a.storage_meta == b.storage_meta &&
         a.version == b.version;
}

void RequireEqualReaders(std::string_view pickle) {
  const auto scanned = MetadataScanner(pickle).Scan();
  if (!scanned) return;
  const auto graph = ReadPickle(pickle);
  Require(graph.ok(), "what is scanned is a pickle");
  const auto parsed = MetadataParser(*graph).Parse();
  Require(parsed.ok() && Equal(*parsed, *scanned),
          "what is scanned is parsed alike");
  const auto look =
      MetadataScanner(pickle, MetadataScanner::Paths::kSkip).Scan();
  Require(look && look->entries() == parsed->entries() &&
              look->storage_data == parsed->storage_data,
          "what is scanned is scanned without paths");
}

}  // namespace
}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view pickle(reinterpret_cast<const char*>(data), size);
  dcp::RequireEqualReaders(pickle);
  const auto parsed = dcp::ParseMetadata(pickle);
  if (!parsed.ok()) return 0;
  const auto written = dcp::SerializeMetadata(*parsed);
  dcp::Require(written.ok(), "what was read can be written");
  const auto again = dcp::ParseMetadata(*written);
  dcp::Require(again.ok(), "what was written can be read");
  dcp::Require(dcp::Equal(*again, *parsed), "a round trip changes nothing");
  return 0;
}
