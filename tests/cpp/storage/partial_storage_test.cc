// An item whose tensor is a part of its storage: torch.save of a view.

#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "format/item_testing.h"
#include "format/zstd_transform.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::State;
using conformance::Wanted;

std::string LittleEndian(uint32_t value) {
  std::string bytes(4, '\0');
  for (size_t i = 0; i < 4; ++i) bytes[i] = static_cast<char>(value >> 8 * i);
  return bytes;
}

void ReplaceAll(std::string& text, const std::string& from,
                const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// The item of a tensor with `data`, cut down to `count` elements.
std::string CutDown(const std::string& data, uint32_t count) {
  const auto numel = static_cast<uint32_t>(data.size() / 4);
  std::string item = RenderItem(
      {.dtype = DType::kFloat32, .sizes = {int64_t{numel}}}, 0, data);
  const auto info = ParseItem(item);
  REQUIRE(info.ok());
  // data.pkl is the first record; the second count in it is the size.
  const std::string bin_int = "J" + LittleEndian(numel);
  const size_t in_storage = item.find(bin_int);
  const size_t in_size = item.find(bin_int, in_storage + 1);
  REQUIRE(in_size < static_cast<size_t>(info->data_offset));
  const size_t pickle = item.find(
      "\x80\x02"
      "ctorch");
  const size_t pickle_end = item.find("PK\x07\x08", pickle);
  const auto crc = [&] {
    return Crc32(0, AsBytes(item.substr(pickle, pickle_end - pickle)));
  };
  const uint32_t old_crc = crc();
  item.replace(in_size + 1, 4, LittleEndian(count));
  ReplaceAll(item, LittleEndian(old_crc), LittleEndian(crc()));
  return item;
}

/// A stock checkpoint of one item, which may be compressed.
std::shared_ptr<FileSystem> StockCheckpoint(const std::string& item,
                                            int64_t count, bool compressed) {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories("/ckpt"));
  std::string stored = item;
  StorageInfo info{.relative_path = "__0_0.distcp"};
  if (compressed) {
    stored.clear();
    auto zstd = ZstdFrameWriter::Make({}, [&](std::span<const std::byte> part) {
      stored.append(reinterpret_cast<const char*>(part.data()), part.size());
      return absl::OkStatus();
    });
    REQUIRE(zstd.ok());
    DCP_CHECK_OK((*zstd)->Write(AsBytes(item)));
    DCP_CHECK_OK((*zstd)->Finish());
    info.transform_descriptors = {std::string(kZstdDescriptor)};
  }
  info.length = static_cast<int64_t>(stored.size());
  PutFile(*fs, "/ckpt/__0_0.distcp", stored);
  Metadata metadata;
  metadata.storage_meta.emplace();
  metadata.Add("w", TensorStorageMetadata{.size = {count},
                                          .chunks = {WholeBox({count})}});
  metadata.storage_data[{.fqn = "w", .offset = Dims{0}}] = info;
  PutStockMetadata(*fs, metadata);
  return fs;
}

TEST_CASE("a part of a storage is loaded, and checked with all of it",
          "[storage][damage]") {
  for (bool compressed : {false, true}) {
    // Too large to be read whole for another reason.
    const size_t nbytes = compressed ? size_t{17} << 20 : size_t{1} << 20;
    const auto count = static_cast<uint32_t>(nbytes / 4 - 1000);
    const std::string data = conformance::RandomBytes(1, nbytes);
    const std::string good = CutDown(data, count);
    std::vector<Wanted> wanted = {{.fqn = "w", .box = WholeBox({count})}};
    DCP_CHECK_OK(
        LoadState(StockCheckpoint(good, count, compressed), {}, wanted));
    CHECK((wanted[0].bytes == data.substr(0, size_t{count} * 4)));

    std::string bad = good;
    const auto byte =
        static_cast<size_t>(ParseItem(good)->data_offset) + nbytes / 2;
    bad[byte] = static_cast<char>(bad[byte] ^ 1);
    const auto fs = StockCheckpoint(bad, count, compressed);
    CHECK(LoadState(fs, {}, wanted).code() == absl::StatusCode::kDataLoss);
    DCP_CHECK_OK(LoadState(fs, {.verify = false}, wanted));
  }
}

}  // namespace
}  // namespace dcp
