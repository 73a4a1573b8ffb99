// Reads headers of safetensors files, for a comparison with the safetensors
// package (tests/python/test_safetensors_differential.py).
//
// Standard input: for each file its size, 8 bytes little-endian, and its bytes.
// Standard output: for each a line of JSON, {"tensors": [[name, dtype, shape,
// begin, end], ...], "metadata": {...}, "data_offset": n} or {"refusal": why}.

#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "answer_each.h"
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

}  // namespace
}  // namespace dcp

int main() { return dcp::AnswerEach(&dcp::Describe); }
