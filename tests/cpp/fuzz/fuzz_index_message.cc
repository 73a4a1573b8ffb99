// What the coordinator tells all ranks of metadata, on a load and after a
// save: whatever is accepted can be told again.

#include <string_view>

#include "checkpoint/index_codec.h"
#include "checkpoint/verdict.h"
#include "fuzz/fuzz_target.h"

namespace dcp {
namespace {

Metadata Sharded(int64_t chunks) {
  TensorStorageMetadata tensor{.properties = {.dtype = DType::kBFloat16},
                               .size = {chunks * 8, 32}};
  for (int64_t i = 0; i < chunks; ++i) {
    tensor.chunks.push_back({.offsets = {i * 8, 0}, .sizes = {8, 32}});
  }
  Metadata metadata;
  metadata.Add("layers.0.weight", std::move(tensor));
  metadata.Add("step", BytesStorageMetadata{});
  return metadata;
}

std::string IndexMessage(int64_t chunks) {
  auto message =
      EncodeIndex({.metadata = Sharded(chunks), .storage_data = "checksums"});
  Require(message.ok(), "metadata can be encoded");
  return *std::move(message);
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {IndexMessage(1), IndexMessage(4), SerializeVerdict("a pickle"),
          SerializeVerdict(std::string(kMinPackedNbytes, 'x'))};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto index = dcp::DecodeIndex(input); index.ok()) {
    const auto sent = dcp::EncodeIndex(*index);
    dcp::Require(sent.ok() && dcp::DecodeIndex(*sent).ok(),
                 "metadata that was accepted can be told again");
  }
  if (const auto verdict = dcp::ParseVerdict(input); verdict.ok()) {
    const auto again = dcp::ParseVerdict(dcp::SerializeVerdict(*verdict));
    dcp::Require(again.ok() && *again == *verdict, "a verdict comes back");
  }
  return 0;
}
