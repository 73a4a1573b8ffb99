// Directories of safetensors files, and states to save into them.

#ifndef DCP_TESTS_CHECKPOINT_HUGGING_FACE_PLACE_H_
#define DCP_TESTS_CHECKPOINT_HUGGING_FACE_PLACE_H_

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "conformance/storage_conformance.h"
#include "dcp/hugging_face_storage.h"
#include "format/safetensors_header.h"
#include "plan/plan_cases.h"

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
    return {.make_writer = nullptr, .make_reader = [this] {
              return MakeHuggingFaceReader({.path = directory},
                                           {.file_system = fs});
            }};
  }
};

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

inline void Deal(const std::string& fqn, const conformance::StateTensor& tensor,
                 Random* random, AllEntries* entries) {
  const auto ranks = static_cast<int64_t>(entries->size());
  const auto pieces = static_cast<int>(random->Between(1, 2 * ranks));
  for (const Box& box : RandomPartition(random, tensor.sizes, pieces)) {
    const auto owner = static_cast<size_t>(random->Between(0, ranks - 1));
    for (size_t rank = 0; rank < entries->size(); ++rank) {
      if (rank == owner || random->OneIn(5)) {
        (*entries)[rank].AddShard(fqn, tensor, box);
      }
    }
  }
}

inline conformance::State RandomState(Random* random) {
  conformance::State state;
  for (int64_t i = random->Between(1, 8); i > 0; --i) {
    const DType dtype =
        random->Pick({DType::kFloat32, DType::kBFloat16, DType::kInt64,
                      DType::kUInt8, DType::kComplex64, DType::kBool});
    const bool large = random->OneIn(3);
    const Dims sizes =
        large ? Dims{random->Between(500, 1500), random->Between(300, 900)}
              : random->Sizes(4, 12);
    state.tensors["t" + std::to_string(i)] =
        conformance::RandomTensor(random->engine(), dtype, sizes);
  }
  return state;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_HUGGING_FACE_PLACE_H_
