// Indexes of safetensors files, and the names of such files: whatever is
// accepted can be written and read again, and leads to no other directory.

#include <string>

#include "format/safetensors_index.h"
#include "format/safetensors_shards.h"
#include "fuzz/fuzz_target.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  const SafetensorsIndex index{
      .total_size = 16'060'522'496,
      .total_parameters = 8'030'261'248,
      .weight_map = {{"a.weight", "model-00001-of-00002.safetensors"},
                     {"b\n\xc3\xa9", "model-00002-of-00002.safetensors"},
                     {"", "sub/model.safetensors"}}};
  return {SerializeSafetensorsIndex(index).value(),
          SerializeSafetensorsIndex({}).value(),
          R"({"weight_map":{"a":"x"},"more":[{"y":1.5}],"metadata":null})",
          "model-00001-of-00002.safetensors",
          "model.fp16.safetensors",
          "50GB",
          "1.25 GiB"};
}

std::vector<std::string> FuzzDictionary() {
  return {"\"weight_map\":",
          "\"metadata\":",
          "\"total_size\":",
          "\"total_parameters\":",
          "\"a\":\"b\",",
          "../",
          "/",
          "\\\\",
          "\\u002e",
          "\\u0000",
          "\\ud83d\\ude00",
          "-00001-of-00002",
          ".safetensors",
          "18446744073709551615",
          "9223372036854775807",
          "1.5",
          "{}",
          "[]",
          "null",
          "TiB"};
}

namespace {

void CheckIndex(std::string_view text) {
  const auto index = ParseSafetensorsIndex(text);
  if (!index.ok()) return;
  for (const auto& [name, file] : index->weight_map) {
    const std::string path = "/" + file + "/";
    Require(path.find("/../") == path.npos && path.find("//") == path.npos,
            "a file is below the index's directory");
  }
  const auto written = SerializeSafetensorsIndex(*index);
  Require(written.ok(), "what was read can be written");
  const auto again = ParseSafetensorsIndex(*written);
  Require(again.ok() && *again == *index, "a round trip changes nothing");
}

}  // namespace
}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  dcp::CheckIndex(input);
  if (const auto name = dcp::ParseSafetensorsFileName(input)) {
    dcp::Require(dcp::FormatSafetensorsFileName(*name) == input,
                 "a name has one meaning");
  }
  const auto nbytes = dcp::ParseShardNbytes(input);
  dcp::Require(!nbytes.ok() || *nbytes > 0, "a size is positive");
  return 0;
}
