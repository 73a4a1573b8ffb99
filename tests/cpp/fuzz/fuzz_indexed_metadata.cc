// Indexed metadata: whatever is accepted is read without harm, also where the
// checksums of the head, the directory and the rest fit.

#include <cstring>
#include <string>
#include <string_view>

#include "base/checksum.h"
#include "format/bytes.h"
#include "format/indexed_metadata.h"
#include "format/indexed_rest.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds;
  for (const std::string& pickle : MetadataSeeds()) {
    const auto metadata = ParseMetadata(pickle);
    if (!metadata.ok()) continue;
    std::string& seed = seeds.emplace_back();
    (void)WriteIndexedMetadata(*metadata, PlacesIn(*metadata),
                               {.nbytes = static_cast<int64_t>(pickle.size())},
                               [&](std::string_view bytes) {
                                 seed += bytes;
                                 return absl::OkStatus();
                               });
  }
  return seeds;
}
std::vector<std::string> FuzzDictionary() { return {"DCPCPPI\n"}; }

namespace {

const size_t kTrailerNbytes = SerializeTrailer({}).size();

void PutCrc(std::string* data, size_t at, uint32_t crc) {
  std::memcpy(data->data() + at, &crc, sizeof(crc));
}

/// `data` with checksums that fit, as far as its parts can be found.
std::string WithCrcs(std::string data) {
  if (data.size() < kIndexedHeaderNbytes + kTrailerNbytes) return data;
  const size_t trailer = data.size() - kTrailerNbytes;
  const auto fix_end = [&] {
    const uint32_t head = Crc32(0, AsBytes(data).first(kIndexedHeaderNbytes));
    PutCrc(&data, data.size() - 4,
           Crc32(head, AsBytes(data).subspan(trailer, kTrailerNbytes - 4)));
  };
  fix_end();
  const std::string head = data.substr(0, kIndexedHeaderNbytes);
  const auto parsed = ParseTrailer(head, data, data.size());
  if (!parsed.ok()) return data;
  const auto directory = AsBytes(data).subspan(parsed->directory_begin,
                                               parsed->directory_nbytes());
  PutCrc(&data, trailer + 40, Crc32(0, directory));
  const auto rest = AsBytes(data).subspan(
      parsed->directory_begin + parsed->directory_nbytes(),
      parsed->rest_nbytes);
  PutCrc(&data, trailer + 52, Crc32(0, rest));
  fix_end();
  return data;
}

void ReadWhole(const std::string& data) {
  const ReadRange read = [&](int64_t begin, std::span<std::byte> out) {
    const auto at = static_cast<size_t>(begin);
    Require(at <= data.size() && out.size() <= data.size() - at,
            "no read leaves the file");
    std::memcpy(out.data(), data.data() + at, out.size());
    return absl::OkStatus();
  };
  const auto trailer =
      ParseTrailer(data.substr(0, kIndexedHeaderNbytes), data, data.size());
  if (!trailer.ok()) return;
  const auto index = IndexedMetadata::Open(
      read, static_cast<int64_t>(data.size()), trailer->metadata);
  if (!index.ok()) return;
  auto outline = index->ReadOutline();
  if (!outline.ok() || outline->entries().empty()) return;
  const std::string last = outline->entries().back().first;
  (void)index->ReadEntry(last, &*outline);
  (void)index->ReadAll();
}

}  // namespace
}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  dcp::ReadWhole(dcp::WithCrcs(input));
  // A block and the rest, as if their checksums fitted.
  const std::vector<dcp::StorageInfo> files(2);
  std::vector<dcp::IndexedItem> items;
  (void)dcp::ParseItems(input, {4, 4}, 1 + size % dcp::kItemsPerBlock, files,
                        &items);
  dcp::Metadata metadata;
  (void)dcp::ParseRest(input, dcp::CopyBudget(size), &metadata);
  return 0;
}
