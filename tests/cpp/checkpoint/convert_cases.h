// Conversions into safetensors files in memory, for their tests.

#ifndef DCP_TESTS_CHECKPOINT_CONVERT_CASES_H_
#define DCP_TESTS_CHECKPOINT_CONVERT_CASES_H_

#include <catch2/catch.hpp>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "dcp/convert.h"
#include "storage/damage.h"

namespace dcp {

/// From /ckpt to /hf, if `paths` does not say otherwise.
inline StatusOr<ConvertResult> ToSafetensors(
    std::shared_ptr<FileSystem> fs, ConvertPaths paths = {},
    const ConvertOptions& options = {}) {
  if (paths.source.empty()) paths.source = "/ckpt";
  if (paths.destination.empty()) paths.destination = "/hf";
  paths.format = CheckpointFormat::kSafetensors;
  paths.io = ModestIo(IoEngineKind::kThreads);
  const auto transport = MakeSingleProcessTransport();
  return Convert(paths, *transport, options, {.file_system = std::move(fs)});
}

inline SafetensorsHeader HeaderOf(std::string_view bytes) {
  const auto header = ParseSafetensorsHeader(std::as_bytes(std::span(bytes)),
                                             std::ssize(bytes));
  REQUIRE(header.ok());
  return *header;
}

/// The tensors of all files, as they lie.
inline std::vector<std::string> TensorsIn(const Place& place) {
  std::vector<std::string> tensors;
  for (const std::string& name : place.names()) {
    if (!name.ends_with(".safetensors")) continue;
    const SafetensorsHeader header = HeaderOf(place.Read(name));
    for (const SafetensorsTensor& t : header.tensors) {
      tensors.push_back(t.name);
    }
  }
  return tensors;
}

/// Twelve tensors whose order in the source is not that of a file.
inline conformance::State StateOfManyTypes() {
  conformance::State state;
  const DType dtypes[] = {DType::kUInt8, DType::kFloat64, DType::kBFloat16,
                          DType::kInt64};
  for (int i = 0; i < 12; ++i) {
    state.tensors["t" + std::to_string(i)] = conformance::RandomTensor(
        static_cast<uint64_t>(i), dtypes[i % 4], {50, 7 + i});
  }
  return state;
}

/// A model in /m, in whose file "head" is another name of "embed".
inline std::shared_ptr<FileSystem> TiedModel() {
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories("/m"));
  const auto head = SerializeSafetensorsHeader(
      {{.name = "embed", .dtype = SafetensorsDType::kF32, .shape = {4, 3}},
       {.name = "empty", .dtype = SafetensorsDType::kF32, .shape = {0}},
       {.name = "norm", .dtype = SafetensorsDType::kF32, .shape = {3}}},
      {{"format", "pt"}, {"head", "embed"}});
  REQUIRE(head.ok());
  PutFile(*fs, "/m/model.safetensors",
          head->bytes + conformance::RandomBytes(1, 15 * sizeof(float)));
  return fs;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_CONVERT_CASES_H_
