#include "format/torch_archive.h"

#include <array>

#include "base/checksum.h"

namespace dcp {
namespace {

struct Constant {
  std::string_view name;
  std::string_view data;
};

// torch 2.13 serialization.py _save: what stands after data.pkl.
constexpr std::array kHeadConstants = {
    Constant{"archive/.format_version", "1"},
    Constant{"archive/.storage_alignment", "64"},
    Constant{"archive/byteorder", "little"},
};
constexpr Constant kVersion = {"archive/version", "3\n"};
constexpr std::string_view kIdName = "archive/.data/serialization_id";
constexpr size_t kIdNbytes = 40;

void PutRecord(const ZipRecord& record, std::string_view data,
               const ZipWindow& window) {
  PutZipHeader(record, window);
  PutZipData(record, data, window);
  PutZipDescriptor(record, window);
}

ZipRecord RecordOf(std::string_view name, std::string_view data) {
  return {.name = name,
          .nbytes = static_cast<int64_t>(data.size()),
          .crc32 = Crc32(0, data)};
}

}  // namespace

void FillHead(std::string_view pickle, std::span<ZipRecord> records) {
  records[0] = RecordOf("archive/data.pkl", pickle);
  for (size_t i = 0; i < kHeadConstants.size(); ++i) {
    records[i + 1] = RecordOf(kHeadConstants[i].name, kHeadConstants[i].data);
  }
}

void FillTail(std::span<ZipRecord> records) {
  records[0] = RecordOf(kVersion.name, kVersion.data);
  records[1] = {.name = kIdName, .nbytes = kIdNbytes};
}

void PutHead(std::span<const ZipRecord> records, std::string_view pickle,
             const ZipWindow& window) {
  PutRecord(records[0], pickle, window);
  for (size_t i = 0; i < kHeadConstants.size(); ++i) {
    PutRecord(records[i + 1], kHeadConstants[i].data, window);
  }
}

void PutTail(std::string_view serialization_id, std::span<ZipRecord> records,
             const ZipWindow& window) {
  records[1].crc32 = Crc32(0, serialization_id);
  PutRecord(records[0], kVersion.data, window);
  PutRecord(records[1], serialization_id, window);
}

std::string SerializationId(uint32_t pickle_crc32, uint32_t data_crc32) {
  std::string id(kIdNbytes, '0');
  const std::string pickle = std::to_string(pickle_crc32);
  const std::string data = std::to_string(data_crc32);
  id.replace(kIdNbytes / 2 - pickle.size(), pickle.size(), pickle);
  id.replace(kIdNbytes - data.size(), data.size(), data);
  return id;
}

}  // namespace dcp
