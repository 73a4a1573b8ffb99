#include "checkpoint/verdict.h"

#include <catch2/catch.hpp>
#include <string>

#include "dcp/metadata.h"
#include "dcp/metadata_codec.h"

namespace dcp {
namespace {

/// Metadata of a tensor of many chunks, as a save writes them.
std::string MetadataOfChunks(int64_t count) {
  Metadata metadata;
  TensorStorageMetadata tensor{.size = {16 * count, 8}};
  for (int64_t i = 0; i < count; ++i) {
    const Box& chunk = tensor.chunks.emplace_back(
        Box{.offsets = {16 * i, 0}, .sizes = {16, 8}});
    metadata.storage_data[{.fqn = "w", .offset = chunk.offsets, .index = i}] = {
        .relative_path = "__" + std::to_string(i % 64) + "_0.distcp",
        .offset = i / 64 * 1024,
        .length = 1024};
  }
  metadata.Add("w", std::move(tensor));
  return SerializeMetadata(metadata).value();
}

TEST_CASE("a verdict brings metadata as they are, in few bytes",
          "[checkpoint]") {
  for (const int64_t count : {0, 1, 300, 3000}) {
    const std::string metadata = MetadataOfChunks(count);
    const std::string message = SerializeVerdict(metadata);
    INFO(metadata.size() << " B in " << message.size());
    const auto parsed = ParseVerdict(message);
    REQUIRE(parsed.ok());
    CHECK(*parsed == metadata);
    if (metadata.size() < kMinPackedNbytes) {
      CHECK(message.size() == metadata.size() + 1);
    } else {
      CHECK(message.size() < metadata.size() / 8);
    }
  }
  CHECK(ParseVerdict(SerializeVerdict("")).value().empty());
}

TEST_CASE("what is not worth packing is sent as it is", "[checkpoint]") {
  std::string noise;
  uint64_t state = 1;
  while (noise.size() < kMinPackedNbytes) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    noise += static_cast<char>(state >> 56);
  }
  const std::string message = SerializeVerdict(noise);
  CHECK(message.size() == noise.size() + 1);
  CHECK(ParseVerdict(message).value() == noise);
}

TEST_CASE("a verdict that is cut off, garbled or of another length is an error",
          "[checkpoint]") {
  const std::string metadata = MetadataOfChunks(3000);
  const std::string message = SerializeVerdict(metadata);
  const auto code_of = [](const std::string& data) {
    return ParseVerdict(data).status().code();
  };
  for (size_t n = 0; n < message.size(); n += n < 20 ? 1 : 997) {
    CHECK(code_of(message.substr(0, n)) == absl::StatusCode::kDataLoss);
  }
  CHECK(code_of(message + "x") == absl::StatusCode::kDataLoss);
  std::string other = message;
  other[0] = 2;
  CHECK(code_of(other) == absl::StatusCode::kDataLoss);
  for (const int bit : {1, 2, 4, 8}) {  // of the length: more, or less
    other = message;
    other[1] = static_cast<char>(other[1] ^ bit);
    CHECK(code_of(other) == absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace dcp
