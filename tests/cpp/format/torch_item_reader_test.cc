#include "format/torch_item_reader.h"

#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "format/item_testing.h"
#include "format/zip_format.h"
#include "format/zip_writer.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string SmallItem() {
  return RenderItem({.dtype = DType::kFloat32, .sizes = {2, 3}}, 0,
                    std::string(24, 'x'));
}

using Files = std::vector<std::pair<std::string, std::string>>;

/// An archive of these records, as torch would write it.
std::string Archive(Files files, const std::string& version = "3\n") {
  if (!files.empty()) {
    const std::string& first = files[0].first;
    files.emplace_back(first.substr(0, first.find('/')) + "/version", version);
  }
  std::vector<ZipRecord> records;
  for (const auto& [name, data] : files) {
    records.push_back({.name = name,
                       .nbytes = static_cast<int64_t>(data.size()),
                       .crc32 = Crc32(0, AsBytes(data))});
  }
  const ZipLayout layout = LayoutZip(records, 0);
  std::string item(static_cast<size_t>(layout.nbytes), '\0');
  const ZipWindow window{.bytes = std::as_writable_bytes(std::span(item))};
  for (size_t i = 0; i < records.size(); ++i) {
    PutZipHeader(records[i], window);
    PutZipData(records[i], files[i].second, window);
    PutZipDescriptor(records[i], window);
  }
  PutZipDirectory(records, layout, window);
  return item;
}

/// data.pkl of one float32.
std::string OneFloat() {
  return Bytes(
      "\x80\x02\x63torch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storage"
      "ctorch\nFloatStorage\nX\1\0\0\0\x30X\3\0\0\0\x63puK\1tQK\0K\1\x85K\1\x85"
      "\x89\x63\x63ollections\nOrderedDict\n)RtR.");
}

TEST_CASE("a minimal archive of an old torch is read", "[item]") {
  // Neither byteorder nor .format_version; the folder has another name.
  const auto info = ParseItem(
      Archive({{"model/data.pkl", OneFloat()}, {"model/data/0", "abcd"}}));
  INFO(info.status());
  REQUIRE(info.ok());
  CHECK(info->sizes == Dims{1});
  CHECK(info->data_nbytes == 4);
}

TEST_CASE("a big-endian item needs torch", "[item]") {
  const auto info = ParseItem(Archive({{"a/data.pkl", OneFloat()},
                                       {"a/byteorder", "big"},
                                       {"a/data/0", "abcd"}}));
  REQUIRE(info.ok());
  CHECK(info->needs_torch);
}

TEST_CASE("archives that lack something are refused", "[item]") {
  const auto [files, why] = GENERATE(table<Files, std::string>({
      {Files(), "no record /version"},
      {{{"a/x", "y"}}, "no record a/data.pkl"},
      {{{"a/data.pkl", OneFloat()}}, "no record a/data/0"},
      {{{"a/data.pkl", OneFloat()}, {"a/data/0", "abc"}}, "3 bytes"},
      {{{"a/data.pkl", OneFloat()}, {"a/data/0", "abcde"}}, "5 bytes"},
      {{{"a/data.pkl", "no pickle"}, {"a/data/0", "abcd"}}, "PROTO"},
      {{{"a/data.pkl", OneFloat()},
        {"a/byteorder", "middle"},
        {"a/data/0", "abcd"}},
       "byteorder"},
      {{{"a/data.pkl", OneFloat()}, {"a/data/0", "abcd"}, {"a/data/0", "abcd"}},
       "twice"},
      {{{"a/data.pkl", std::string((1 << 20) + 1, 'x')}}, "more than"},
  }));
  const auto info = ParseItem(Archive(files));
  CHECK(info.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(info.status())), Contains(why));
}

TEST_CASE("archives are of a version that torch reads", "[item]") {
  const Files files{{"a/data.pkl", OneFloat()}, {"a/data/0", "abcd"}};
  for (const char* version : {"1", "3\n", "10", " +3", "3x"}) {
    INFO(version);
    CHECK(ParseItem(Archive(files, version)).ok());
  }
  for (const char* version : {"", "x", "-3", "0", "11", "+", "\1", "++3",
                              "99999999999999999999999"}) {
    INFO(version);
    const Status status = ParseItem(Archive(files, version)).status();
    CHECK(status.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(status)), Contains("version"));
  }
}

TEST_CASE("a name that is not UTF-8 is refused", "[item]") {
  std::string item = SmallItem();
  for (size_t at = item.find("archive/data.pkl"); at != std::string::npos;
       at = item.find("archive/data.pkl", at)) {
    item[at + 8] = '\xff';
  }
  const Status status = ParseItem(item).status();
  CHECK(status.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(status)), Contains("is not UTF-8"));
}

TEST_CASE("every truncation of an item is refused", "[item]") {
  const std::string item = SmallItem();
  for (size_t n = 0; n < item.size(); ++n) {
    REQUIRE(ParseItem(item.substr(0, n)).status().code() ==
            absl::StatusCode::kDataLoss);
    REQUIRE_FALSE(VerifyItemCrcs(AsBytes(item.substr(0, n))).ok());
  }
  CHECK_FALSE(ParseItem(item + "x").ok());
}

TEST_CASE("every single damaged byte is found or harmless", "[item]") {
  const std::string item = SmallItem();
  const auto intact = ParseItem(item);
  REQUIRE(intact.ok());
  for (size_t i = 0; i < item.size(); ++i) {
    for (const int bit : {1, 0x80}) {
      std::string damaged = item;
      damaged[i] = static_cast<char>(damaged[i] ^ bit);
      const auto info = ParseItem(damaged);
      if (!info.ok() || info->needs_torch) continue;
      if (!VerifyItemCrcs(AsBytes(damaged)).ok()) continue;
      // What passes both reads as the intact item does.
      INFO("byte " << i);
      REQUIRE(info->dtype == intact->dtype);
      REQUIRE(info->sizes == intact->sizes);
      REQUIRE(info->strides == intact->strides);
      REQUIRE(info->data_offset == intact->data_offset);
      REQUIRE(damaged.substr(static_cast<size_t>(info->data_offset), 24) ==
              std::string(24, 'x'));
    }
  }
}

TEST_CASE("an item without CRCs passes", "[item]") {
  std::string item = SmallItem();
  for (size_t i = 0; i + 4 < item.size(); ++i) {
    if (item.substr(i, 4) == Bytes("PK\1\2")) item.replace(i + 16, 4, 4, '\0');
  }
  const auto info = ParseItem(item);
  REQUIRE(info.ok());
  CHECK(info->data_crc32 == 0);
  CHECK(VerifyItemCrcs(AsBytes(item)).ok());
}

TEST_CASE("records that overlap or leave the item are refused", "[item]") {
  const std::string item = SmallItem();
  const size_t directory = item.find("PK\1\2");
  REQUIRE(directory != std::string::npos);
  const auto patched = [&item](size_t at, uint32_t value) {
    std::string copy = item;
    copy.replace(at, 4, reinterpret_cast<const char*>(&value), 4);
    return ParseItem(copy);
  };
  // Sizes of the first record: into the second, beyond the item, zip64 mark.
  for (const uint32_t nbytes : {0x200u, 0x10000u, 0xffffffffu}) {
    std::string copy = item;
    const char* bytes = reinterpret_cast<const char*>(&nbytes);
    copy.replace(directory + 20, 4, bytes, 4);
    copy.replace(directory + 24, 4, bytes, 4);
    CHECK(ParseItem(copy).status().code() == absl::StatusCode::kDataLoss);
  }
  CHECK_FALSE(patched(directory + 42, 1).ok());           // offset
  CHECK_FALSE(patched(directory + 42, 0x7fffffff).ok());  // far away
  CHECK_FALSE(patched(directory + 20, 5).ok());           // compressed size
  CHECK_FALSE(patched(directory + 8, 0x00080809).ok());   // encrypted, deflated
}

TEST_CASE("a negative offset in a zip64 field is refused", "[item]") {
  std::string item = SmallItem();
  const size_t entry = item.rfind("PK\1\2");
  const size_t end = item.rfind("PK\6\6");
  REQUIRE(end != std::string::npos);
  const auto add = [&item](size_t at, auto value) {
    auto sum = value;
    std::memcpy(&sum, item.data() + at, sizeof sum);
    sum = static_cast<decltype(value)>(sum + value);
    std::memcpy(item.data() + at, &sum, sizeof sum);
  };
  // The last entry's offset moves into an extra field at its end.
  constexpr uint16_t kExtra = 12;
  item.replace(entry + 42, 4, 4, '\xff');
  add(entry + 30, kExtra);                          // of extra fields
  add(end + 40, int64_t{kExtra});                   // of the directory
  add(end + kZip64EndNbytes + 8, int64_t{kExtra});  // where it ends
  item.insert(end, kExtra, '\0');
  add(end, kZip64ExtraId);
  add(end + 2, uint16_t{8});
  add(end + 4, std::numeric_limits<int64_t>::min());
  const auto info = ParseItem(item);
  CHECK(info.status().code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(info.status())), Contains("overlaps"));
}

TEST_CASE("a small item costs one read", "[item]") {
  class CountingSource : public MemoryItemSource {
   public:
    using MemoryItemSource::MemoryItemSource;
    Status Read(int64_t offset, std::span<std::byte> out) override {
      ++reads;
      nbytes += out.size();
      return MemoryItemSource::Read(offset, out);
    }
    size_t reads = 0;
    size_t nbytes = 0;
  };
  const std::string small = SmallItem();
  CountingSource source(AsBytes(small));
  CHECK(ParseTensorItem(source, static_cast<int64_t>(small.size())).ok());
  CHECK(source.reads == 1);
  const std::string large = RenderItem(
      {.dtype = DType::kInt8, .sizes = {1 << 20}}, 0, std::string(1 << 20, 0));
  CountingSource sparse(AsBytes(large));
  CHECK(ParseTensorItem(sparse, static_cast<int64_t>(large.size())).ok());
  CHECK(sparse.reads == 2);
  CHECK(sparse.nbytes <= 6144);
}

TEST_CASE("an error of the source is returned as it is", "[item]") {
  class BrokenSource : public ItemSource {
   public:
    Status Read(int64_t /*offset*/, std::span<std::byte> /*out*/) override {
      return ErrnoToStatus(EIO, {.op = "pread", .path = "/f"});
    }
  };
  BrokenSource source;
  const auto info = ParseTensorItem(source, 5000);
  REQUIRE_FALSE(info.ok());
  const auto detail = GetErrorDetail(info.status());
  REQUIRE(detail.has_value());
  CHECK(detail.value_or(ErrorDetail{}).error_number == EIO);
}

}  // namespace
}  // namespace dcp
