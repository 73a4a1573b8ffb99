// Indexed metadata of a few tensors, in memory, for its tests.

#ifndef DCP_TESTS_FORMAT_INDEXED_TESTING_H_
#define DCP_TESTS_FORMAT_INDEXED_TESTING_H_

#include <catch2/catch.hpp>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/checksum.h"
#include "format/bytes.h"
#include "format/indexed_metadata.h"

namespace dcp {

/// Of a `.metadata` that may have many items.
inline constexpr MetadataBinding kBinding = {.nbytes = 954'321,
                                             .crc32 = 0xdeadbeef};

inline std::string Written(const Metadata& metadata) {
  std::string data;
  const Status status = WriteIndexedMetadata(
      metadata, PlacesIn(metadata), kBinding, [&](std::string_view bytes) {
        data += bytes;
        return absl::OkStatus();
      });
  REQUIRE(status.ok());
  return data;
}

/// Counts what is read of `data`, which outlives it.
struct CountedReads {
  const std::string& data;
  size_t count = 0;
  size_t nbytes = 0;

  ReadRange AsReadRange() {
    return [this](int64_t byte_offset, std::span<std::byte> out) {
      const auto begin = static_cast<size_t>(byte_offset);
      if (begin > data.size() || out.size() > data.size() - begin) {
        return Internal("a read beyond the end");
      }
      std::memcpy(out.data(), data.data() + begin, out.size());
      ++count;
      nbytes += out.size();
      return absl::OkStatus();
    };
  }
};

inline StatusOr<IndexedMetadata> Opened(
    CountedReads& reads, const MetadataBinding& binding = kBinding) {
  return IndexedMetadata::Open(
      reads.AsReadRange(), static_cast<int64_t>(reads.data.size()), binding);
}

inline StatusOr<Metadata> ReadAll(const std::string& data) {
  CountedReads reads{data};
  DCP_ASSIGN_OR_RETURN(const IndexedMetadata index, Opened(reads));
  return index.ReadAll();
}

/// A tensor of rows, sharded over `chunks` ranks, and what else there may be.
inline Metadata Sharded(int64_t chunks) {
  Metadata metadata;
  metadata.Add("step", BytesStorageMetadata{});
  TensorStorageMetadata tensor{.properties = {.dtype = DType::kBFloat16},
                               .size = {16 * chunks, 8192}};
  for (int64_t c = 0; c < chunks; ++c) {
    const Box& chunk = tensor.chunks.emplace_back(
        Box{.offsets = {16 * c, 0}, .sizes = {16, 8192}});
    metadata.storage_data[{.fqn = "w", .offset = chunk.offsets, .index = c}] = {
        .relative_path = "__" + std::to_string(c) + "_0.distcp",
        .offset = 123456789,
        .length = 16 * 8192 * 2 + 1600};
  }
  metadata.Add("w", std::move(tensor));
  metadata.storage_data[{.fqn = "step"}] = {
      .relative_path = "__0_0.distcp", .transform_descriptors = {"a", "b"}};
  metadata.storage_data[{.fqn = "nobody's"}] = {.relative_path = "f"};
  metadata.planner_data.emplace()["w"] = {std::string("model"), int64_t{3}};
  metadata.storage_meta = {.save_id = "id", .modules = {"m"}};
  metadata.version = "1.0.0";
  return metadata;
}

/// Replaces bytes at `at` and makes the CRC-32 at the end fit again.
inline std::string Patched(std::string data, size_t at,
                           std::string_view bytes) {
  data.replace(at, bytes.size(), bytes);
  uint32_t trailer_nbytes = 0;
  std::memcpy(&trailer_nbytes, data.data() + data.size() - 8, 4);
  uint32_t crc = Crc32(0, AsBytes(data).first(kIndexedHeaderNbytes));
  crc =
      Crc32(crc, AsBytes(data).last(trailer_nbytes).first(trailer_nbytes - 4));
  std::memcpy(data.data() + data.size() - 4, &crc, 4);
  return data;
}

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_INDEXED_TESTING_H_
