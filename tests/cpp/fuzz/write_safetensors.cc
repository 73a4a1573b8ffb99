// Writes what safetensors files begin with, and indexes, for a comparison with
// the packages that write them (tests/python/test_safetensors_differential.py).
//
// Standard input: a line of JSON for each, {"tensors": [[name, torch's dtype,
// torch's shape], ...], "metadata": {...}, "data_alignment": n} or {"index":
// {name: file, ...}, "total_size": n, "total_parameters": n}. Standard output:
// for each a line, {"head": hexadecimal, "order": [name, ...]}, {"index": text}
// or {"refusal": why}.

#include <cstdint>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "format/safetensors_header.h"
#include "format/safetensors_index.h"

namespace dcp {
namespace {

using nlohmann::json;

std::string Hex(const std::string& bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<uint8_t>(c);
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

json RefusalOf(const Status& status) {
  return {{"refusal", std::string(Message(status))}};
}

/// nullopt for what safetensors has no type or shape for.
std::optional<SafetensorsTensor> TensorOf(const json& described) {
  const auto torch_dtype = ParseDType(described[1].get<std::string>());
  const auto sizes = described[2].get<std::vector<int64_t>>();
  const auto dtype =
      torch_dtype ? SafetensorsDTypeOf(*torch_dtype) : std::nullopt;
  if (!dtype) return std::nullopt;
  const auto shape =
      SafetensorsShapeOf(*dtype, Dims(std::span<const int64_t>(sizes)));
  if (!shape) return std::nullopt;
  return SafetensorsTensor{.name = described[0].get<std::string>(),
                           .dtype = *dtype,
                           .shape = *shape};
}

json WriteHead(const json& order) {
  std::vector<SafetensorsTensor> tensors;
  for (const json& described : order["tensors"]) {
    auto tensor = TensorOf(described);
    if (!tensor) return {{"refusal", "no type or shape of safetensors"}};
    tensors.push_back(*std::move(tensor));
  }
  const auto head = SerializeSafetensorsHeader(
      std::move(tensors),
      order["metadata"].get<std::map<std::string, std::string>>(),
      {.data_alignment = order["data_alignment"].get<int64_t>()});
  if (!head.ok()) return RefusalOf(head.status());
  json names = json::array();
  for (const SafetensorsTensor& tensor : head->header.tensors) {
    names.push_back(tensor.name);
  }
  return {{"head", Hex(head->bytes)}, {"order", names}};
}

json WriteIndex(const json& order) {
  const auto text = SerializeSafetensorsIndex(
      {.total_size = order["total_size"].get<int64_t>(),
       .total_parameters = order["total_parameters"].get<int64_t>(),
       .weight_map = order["index"].get<std::map<std::string, std::string>>()});
  if (!text.ok()) return RefusalOf(text.status());
  return {{"index", *text}};
}

int Main() {
  std::ios::sync_with_stdio(false);
  std::string line;
  while (std::getline(std::cin, line)) {
    const json order = json::parse(line);
    const json answer =
        order.contains("index") ? WriteIndex(order) : WriteHead(order);
    std::cout << answer.dump() << '\n' << std::flush;
  }
  return 0;
}

}  // namespace
}  // namespace dcp

int main() { return dcp::Main(); }
