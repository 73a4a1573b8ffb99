// Lists the records of archives, for a comparison with Python's zipfile
// (tests/python/test_zip_differential.py).
//
// Standard input: for each archive its size, 8 bytes little-endian, and its
// bytes. Standard output: for each a line of JSON, {"records": [[name, offset,
// nbytes, crc32], ...], "damage": ""} or {"refusal": why}; damage tells of a
// record that does not match its CRC.

#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "format/memory_item_source.h"
#include "format/torch_item_reader.h"
#include "format/zip_reader.h"

namespace dcp {
namespace {

nlohmann::json Describe(const std::string& archive) {
  const auto item = std::as_bytes(std::span(archive));
  MemoryItemSource source(item);
  const auto length = static_cast<int64_t>(archive.size());
  ItemReader reader(source, length);
  const auto records = ListItemRecords(reader, length);
  if (!records.ok()) {
    return {{"refusal", std::string(Message(records.status()))}};
  }
  nlohmann::json listed = nlohmann::json::array();
  for (const ItemRecord& record : *records) {
    listed.push_back({record.name, record.offset, record.nbytes, record.crc32});
  }
  return {{"records", listed},
          {"damage", std::string(Message(VerifyItemCrcs(item)))}};
}

int Main() {
  std::ios::sync_with_stdio(false);
  uint64_t nbytes = 0;
  while (std::cin.read(reinterpret_cast<char*>(&nbytes), sizeof(nbytes))) {
    std::string archive(nbytes, '\0');
    if (!std::cin.read(archive.data(), static_cast<int64_t>(nbytes))) return 1;
    std::cout << Describe(archive).dump() << '\n' << std::flush;
  }
  return 0;
}

}  // namespace
}  // namespace dcp

int main() { return dcp::Main(); }
