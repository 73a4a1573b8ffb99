// Directories of safetensors files, and states to save into them.

#ifndef DCP_TESTS_CHECKPOINT_HUGGING_FACE_PLACE_H_
#define DCP_TESTS_CHECKPOINT_HUGGING_FACE_PLACE_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/random_state.h"
#include "checkpoint/rank_threads.h"
#include "conformance/storage_conformance.h"
#include "dcp/hugging_face_storage.h"
#include "format/safetensors_header.h"

namespace dcp {

/// A directory of safetensors files.
struct Place {
  std::shared_ptr<FileSystem> fs;
  std::string directory;
  HuggingFaceWriterOptions options;

  Place(std::shared_ptr<FileSystem> file_system, std::string path)
      : fs(std::move(file_system)), directory(std::move(path)) {
    options.path = directory;
    options.io = {.workers = 2,
                  .block_nbytes = int64_t{1} << 20,
                  .max_buffer_nbytes = int64_t{8} << 20};
  }

  std::vector<StatusOr<SaveResult>> Save(const AllEntries& entries) const {
    return SaveOnRanks(entries, [this](int) {
      return MakeHuggingFaceWriter(options, {.file_system = fs});
    });
  }

  std::string Read(const std::string& name) const {
    const auto bytes =
        ReadFile(*fs, JoinPath(directory, name), int64_t{1} << 30, {});
    CAPTURE(name, Message(bytes.status()));
    REQUIRE(bytes.ok());
    return *bytes;
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    const auto entries = fs->List(directory);
    REQUIRE(entries.ok());
    for (const DirectoryEntry& entry : *entries) {
      if (!entry.name.starts_with(".dcpcpp-")) names.push_back(entry.name);
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  conformance::StorageUnderTest storage() const {
    return {.make_writer =
                [place = *this] {
                  return MakeHuggingFaceWriter(place.options,
                                               {.file_system = place.fs});
                },
            .make_reader = [place = *this] { return place.MakeReader({}); }};
  }

  /// One file, by its header alone.
  conformance::StorageUnderTest file(const std::string& name) const {
    return {.make_writer = nullptr, .make_reader = [place = *this, name] {
              return place.MakeReader(name);
            }};
  }

  std::unique_ptr<StorageReader> MakeReader(
      std::optional<std::string> only_file) const {
    return MakeHuggingFaceReader({.path = directory,
                                  .only_file = std::move(only_file),
                                  .io = options.io},
                                 {.file_system = fs});
  }
};

/// Saves a random state, dealt to a random number of ranks, and returns it.
inline conformance::State SaveRandomState(const Place& place, Random* random) {
  conformance::State state = RandomTensors(random);
  AllEntries entries(static_cast<size_t>(random->Between(1, 5)));
  for (const auto& [fqn, tensor] : state.tensors) {
    DealTensor(fqn, tensor, random, &entries);
  }
  CAPTURE(entries.size());
  RequireAllSucceed(place.Save(entries));
  return state;
}

/// The bytes that safetensors.torch.save_file makes of `state`.
inline std::string WholeFile(const conformance::State& state) {
  std::vector<SafetensorsTensor> described;
  for (const auto& [fqn, tensor] : state.tensors) {
    described.push_back({.name = fqn,
                         .dtype = SafetensorsDTypeOf(tensor.dtype).value(),
                         .shape = tensor.sizes});
  }
  const auto head =
      SerializeSafetensorsHeader(std::move(described), {{"format", "pt"}});
  REQUIRE(head.ok());
  std::string bytes = head->bytes;
  for (const SafetensorsTensor& tensor : head->header.tensors) {
    bytes += state.tensors.at(tensor.name).bytes;
  }
  return bytes;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_HUGGING_FACE_PLACE_H_
