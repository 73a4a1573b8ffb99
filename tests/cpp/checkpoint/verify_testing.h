// Verifying checkpoints in memory, for the tests of Verify and FindLatest.

#ifndef DCP_TESTS_CHECKPOINT_VERIFY_TESTING_H_
#define DCP_TESTS_CHECKPOINT_VERIFY_TESTING_H_

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dcp/verify.h"
#include "storage/damage.h"

namespace dcp {

/// Tensors of less and of more than a mebibyte, and objects.
inline conformance::State MixedState() {
  conformance::State state;
  state.objects["step"] = conformance::ObjectOf(7);
  state.tensors["small"] =
      conformance::RandomTensor(1, DType::kFloat32, {16, 3});
  state.tensors["middle"] =
      conformance::RandomTensor(2, DType::kBFloat16, {300, 401});
  state.tensors["large"] =
      conformance::RandomTensor(3, DType::kFloat32, {1200, 801});
  state.tensors["flag"] = conformance::RandomTensor(4, DType::kUInt8, {});
  return state;
}

inline std::shared_ptr<FileSystem> SavedCompressed(
    const conformance::State& state, bool stock) {
  auto fs = Saved(state, {.compression = Compression::kZstd});
  if (stock) PutStockMetadata(*fs, ReadMetadata(*fs));
  return fs;
}

inline StatusOr<VerifyReport> VerifyStored(std::shared_ptr<FileSystem> fs,
                                           const std::string& path = "/ckpt") {
  return Verify(path, {.io = ModestIo(IoEngineKind::kThreads)},
                {.file_system = std::move(fs)});
}

inline std::string Describe(const std::vector<Damage>& damages) {
  std::string text;
  for (const Damage& damage : damages) {
    text += damage.path + " [" +
            std::to_string(damage.byte_offset.value_or(-1)) +
            ", n=" + std::to_string(damage.nbytes.value_or(-1)) + "] " +
            damage.fqn + ": " + damage.message + "\n";
  }
  return text;
}

inline std::vector<Damage> DamagesIn(std::shared_ptr<FileSystem> fs) {
  const auto report = VerifyStored(std::move(fs));
  DCP_CHECK_OK(report.status());
  return report.ok() ? report->damages : std::vector<Damage>();
}

/// The keys that `damages` name in the file `path`, "" for none.
inline std::set<std::string> KeysIn(const std::vector<Damage>& damages,
                                    const std::string& path) {
  std::set<std::string> keys;
  for (const Damage& damage : damages) {
    if (damage.path == path) keys.insert(damage.fqn);
  }
  return keys;
}

/// The keys of the items that overlap [begin, end) of the file `path`.
inline std::set<std::string> ItemsIn(const Metadata& metadata,
                                     const std::string& path, int64_t begin,
                                     int64_t end) {
  std::set<std::string> keys;
  for (const auto& [index, info] : metadata.storage_data) {
    if ("/ckpt/" + info.relative_path == path && info.offset < end &&
        info.offset + info.length > begin) {
      keys.insert(index.fqn);
    }
  }
  return keys;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_VERIFY_TESTING_H_
