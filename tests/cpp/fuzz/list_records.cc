// Lists the records of archives, for a comparison with Python's zipfile
// (tests/python/test_zip_differential.py).
//
// Standard input: for each archive its size, 8 bytes little-endian, and its
// bytes. Standard output: for each a line of JSON, {"records": [[name, offset,
// nbytes, crc32], ...], "damage": "", "version": ""} or {"refusal": why};
// damage tells of a record that does not match its CRC, version why items of
// the archive's version are not read.

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "answer_each.h"
#include "format/memory_item_source.h"
#include "format/torch_item_reader.h"
#include "format/torch_records.h"
#include "format/zip_reader.h"

namespace dcp {
namespace {

Status VersionOf(ItemReader& reader, int64_t length) {
  DCP_ASSIGN_OR_RETURN(const ZipDirectory directory,
                       ZipDirectory::Read(reader, length));
  return TorchRecords::Open(reader, directory).status();
}

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
          {"damage", std::string(Message(VerifyItemCrcs(item)))},
          {"version", std::string(Message(VersionOf(reader, length)))}};
}

}  // namespace
}  // namespace dcp

int main() { return dcp::AnswerEach(&dcp::Describe); }
