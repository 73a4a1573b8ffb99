// Names of files: in a directory, and as metadata gives them.

#include <string_view>

#include "format/file_names.h"
#include "fuzz/fuzz_target.h"
#include "io/paths.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  return {"__0_0.distcp",
          "__12_345.distcp",
          "__7.metadata",
          ".metadata",
          SidecarName("dcpcpp-0123456789abcdef"),
          IndexedMetadataName("dcpcpp-0"),
          TemporaryMetadataName("dcpcpp-0"),
          TemporaryLeaseName("dcpcpp-0"),
          TemporaryShardName("dcpcpp-0", 1),
          ReplacedListName("dcpcpp-0"),
          "sub/\xc3\xa4\xe2\x82\xac/data.bin"};
}
std::vector<std::string> FuzzDictionary() {
  return {"..",
          "/",
          "//",
          "./",
          "../",
          "\\",
          "\xe2\x80\xae",
          "__",
          "_",
          ".distcp",
          "18446744073709551616"};
}

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto name = dcp::ParseDataFileName(input)) {
    dcp::Require(dcp::FormatDataFileName(*name) == input,
                 "a data file has one name");
  }
  if (const auto rank = dcp::ParseRankMetadataFileName(input)) {
    dcp::Require(dcp::RankMetadataFileName(*rank) == input,
                 "a rank's metadata has one name");
  }
  if (dcp::IsSidecarName(input)) {
    dcp::Require(dcp::SidecarName(input.substr(1)) == input,
                 "a sidecar has one name");
  }
  (void)dcp::IsIndexedMetadataName(input);
  (void)dcp::IsTemporaryName(input);
  if (!dcp::ValidateRelativePath(input).ok()) return 0;
  const auto parts = dcp::SplitPath(input);
  dcp::Require(!input.starts_with('/') && dcp::NormalizedParts(input) == parts,
               "a path stays below its directory");
  return 0;
}
