// Reads headers of safetensors files, for a comparison with the safetensors
// package (tests/python/test_safetensors_differential.py).
//
// Standard input: for each file its size, 8 bytes little-endian, and its bytes.
// Standard output: for each a line of JSON, {"tensors": [[name, dtype, shape,
// begin, end], ...], "metadata": {...}, "data_offset": n} or {"refusal": why}.

#include <cstdint>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "format/safetensors_header.h"

namespace dcp {
namespace {

nlohmann::json Describe(const std::string& file) {
  const auto header =
      ParseSafetensorsHeader(std::as_bytes(std::span(file)), std::ssize(file));
  if (!header.ok()) {
    return {{"refusal", std::string(Message(header.status()))}};
  }
  nlohmann::json tensors = nlohmann::json::array();
  for (const SafetensorsTensor& tensor : header->tensors) {
    const auto& info = GetSafetensorsDTypeInfo(tensor.dtype);
    tensors.push_back({tensor.name, std::string(info.name),
                       nlohmann::json(tensor.shape.span()), tensor.begin,
                       tensor.end});
  }
  return {{"tensors", tensors},
          {"metadata", nlohmann::json(header->metadata)},
          {"data_offset", header->data_offset}};
}

int Main() {
  std::ios::sync_with_stdio(false);
  uint64_t nbytes = 0;
  while (std::cin.read(reinterpret_cast<char*>(&nbytes), sizeof(nbytes))) {
    std::string file(nbytes, '\0');
    if (!std::cin.read(file.data(), static_cast<int64_t>(nbytes))) return 1;
    std::cout << Describe(file).dump() << '\n' << std::flush;
  }
  return 0;
}

}  // namespace
}  // namespace dcp

int main() { return dcp::Main(); }
