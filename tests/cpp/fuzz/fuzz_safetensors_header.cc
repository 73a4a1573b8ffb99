// Headers of safetensors files: the tensors of what is accepted are all of the
// data, and the header can be written and read again.
//
// An input is tried as a file, and as the text of a header behind two bytes
// that say how much data there is, since no mutation would find a length that
// fits.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "format/safetensors_header.h"
#include "fuzz/fuzz_target.h"

namespace dcp {
namespace {

std::span<const std::byte> AsBytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

SafetensorsHead Write(std::vector<SafetensorsTensor> tensors,
                      std::map<std::string, std::string> metadata) {
  auto head =
      SerializeSafetensorsHeader(std::move(tensors), std::move(metadata));
  Require(head.ok(), "what was read can be written");
  return *std::move(head);
}

SafetensorsHead Example() {
  using enum SafetensorsDType;
  return Write({{.name = "layers.0.weight", .dtype = kBF16, .shape = {2, 3}},
                {.name = "layers.0.bias", .dtype = kF32, .shape = {}},
                {.name = "empty", .dtype = kI64, .shape = {0, 2}},
                {.name = "packed", .dtype = kF4, .shape = {4}},
                {.name = "b", .dtype = kBool, .shape = {5}}},
               {{"format", "pt"}, {"note", "\xc3\xa9\n"}});
}

std::string LengthOf(int64_t nbytes, int width) {
  std::string bytes;
  for (int i = 0; i < width; ++i) {
    bytes += static_cast<char>((nbytes >> (8 * i)) & 0xff);
  }
  return bytes;
}

/// `text` behind the length of its file's data.
std::string AsInput(const std::string& text, int64_t data_nbytes) {
  return LengthOf(data_nbytes, 2) + text;
}

void CheckTiling(const SafetensorsHeader& header, int64_t file_nbytes) {
  int64_t end = 0;
  for (const SafetensorsTensor& tensor : header.tensors) {
    Require(tensor.begin == end, "tensors leave no gap and do not overlap");
    const auto numel = CheckedNumel(tensor.shape);
    Require(numel && SafetensorsNbytes(tensor.dtype, *numel) ==
                         tensor.end - tensor.begin,
            "a tensor has as much data as its shape and type ask for");
    end = tensor.end;
  }
  Require(header.data_offset + end == file_nbytes,
          "the tensors are all of the file");
}

void Check(std::string_view head, int64_t file_nbytes) {
  const auto header = ParseSafetensorsHeader(AsBytes(head), file_nbytes);
  if (!header.ok()) return;
  CheckTiling(*header, file_nbytes);
  const SafetensorsHead written = Write(header->tensors, header->metadata);
  const auto again = ParseSafetensorsHeader(
      AsBytes(written.bytes), SafetensorsFileNbytes(written.header));
  Require(again.ok() && *again == written.header, "what is written is read");
  Require(again->metadata == header->metadata &&
              again->tensors.size() == header->tensors.size(),
          "a round trip loses nothing");
  Require(Write(again->tensors, again->metadata).bytes == written.bytes,
          "one layout belongs to the same tensors");
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const SafetensorsHead head = Example();
  const int64_t data_nbytes =
      SafetensorsFileNbytes(head.header) - head.header.data_offset;
  return {
      head.bytes + std::string(static_cast<size_t>(data_nbytes), '\0'),
      Write({}, {}).bytes, AsInput(head.bytes.substr(8), data_nbytes),
      AsInput("{}", 0),
      AsInput(R"( {"b":{"data_offsets":[1,3],"shape":[1,2],"dtype":"U8"},)"
              R"("a":{"dtype":"I8","x":{"y":[null,true,-1.5e3]},"shape":[1],)"
              R"("data_offsets":[0,1]},"__metadata__":null} )",
              3)};
}

std::vector<std::string> FuzzDictionary() {
  return {"\"__metadata__\":",
          "\"dtype\":",
          "\"shape\":",
          "\"data_offsets\":",
          "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},",
          "\"F4\"",
          "\"F6_E2M3\"",
          "\"F64\"",
          "[0,0]",
          "[0,1]",
          "[]",
          "{}",
          "null",
          "\\ud83d\\ude00",
          "\\u0000",
          "18446744073709551615",
          "9223372036854775807",
          "4611686018427387904",
          "-1",
          "1.0",
          "1e0",
          "[[[[[[[[[[[[[[[["};
}

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  dcp::Check(input, std::ssize(input));
  if (size < 2) return 0;
  const std::string_view text = input.substr(2);
  const int64_t data_nbytes = data[0] + 256 * data[1];
  const std::string head =
      dcp::LengthOf(std::ssize(text), 8) + std::string(text);
  dcp::Check(head, std::ssize(head) + data_nbytes);
  return 0;
}
