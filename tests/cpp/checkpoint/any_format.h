// Checkpoints of every format, for the tests that break off saves of any.

#ifndef DCP_TESTS_CHECKPOINT_ANY_FORMAT_H_
#define DCP_TESTS_CHECKPOINT_ANY_FORMAT_H_

#include <memory>
#include <string>
#include <utility>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/old_or_new.h"
#include "format/safetensors_index.h"
#include "testing/no_exchange_file_system.h"

namespace dcp {

/// How a test's checkpoints are written.
enum class FileFormat : uint8_t {
  kNative,
  kSafetensors,         ///< a save over another one exchanges directories
  kSafetensorsInPlace,  ///< on a file system that cannot
  kSafetensorsOfRanks,  ///< each rank has files of its own
};

inline std::string ToString(FileFormat format) {
  switch (format) {
    case FileFormat::kNative:
      return "native";
    case FileFormat::kSafetensors:
      return "safetensors";
    case FileFormat::kSafetensorsInPlace:
      return "safetensors in place";
    case FileFormat::kSafetensorsOfRanks:
      return "safetensors of ranks";
  }
  return "";
}

/// What `format` can hold of `states`: safetensors have no objects.
inline OldAndNew StatesFor(FileFormat format, OldAndNew states) {
  if (format != FileFormat::kNative) {
    states.old_state.objects.clear();
    states.new_state.objects.clear();
  }
  return states;
}

/// A directory, and how it is written and read.
struct AnyPlace {
  FileFormat format = FileFormat::kNative;
  /// The directory, and what is said of native checkpoints; of other formats,
  /// only `writer.io` counts.
  NativePlace native;
  /// Of safetensors: see HuggingFaceWriterOptions.
  int64_t max_shard_nbytes = 5'000'000'000;
};

inline Place SafetensorsPlace(const AnyPlace& place) {
  std::shared_ptr<FileSystem> fs = place.native.fs;
  if (place.format == FileFormat::kSafetensorsInPlace) {
    fs = std::make_shared<testing::NoExchangeFileSystem>(std::move(fs));
  }
  Place made(std::move(fs), place.native.directory);
  made.options.io = place.native.writer.io;
  made.options.max_shard_nbytes = place.max_shard_nbytes;
  made.options.file_per_rank = place.format == FileFormat::kSafetensorsOfRanks;
  return made;
}

inline conformance::StorageUnderTest StorageAt(const AnyPlace& place) {
  if (place.format == FileFormat::kNative) return NativeStorage(place.native);
  return SafetensorsPlace(place).storage();
}

/// What is in whole safetensors files for programs that know neither sidecars
/// nor leftovers. As transformers 5: model.safetensors, else what the index
/// names.
inline Found WhatTransformersFinds(const Place& place,
                                   const OldAndNew& states) {
  const std::string single(kSafetensorsSingleName);
  if (place.fs->Exists(JoinPath(place.directory, single)).value()) {
    return WhatIsIn(place.file(single), states);
  }
  const auto text =
      ReadFile(*place.fs, JoinPath(place.directory, kSafetensorsIndexName),
               int64_t{1} << 30, {});
  if (!text.ok()) return Found::kNone;
  const auto index = ParseSafetensorsIndex(*text);
  if (!index.ok()) return Found::kDamaged;
  for (const Found found : {Found::kOld, Found::kNew}) {
    const conformance::State& state = states.Of(found);
    if (index->weight_map.size() != state.tensors.size()) continue;
    bool all = true;
    for (conformance::Wanted& want : conformance::AllOf(state)) {
      const auto file = index->weight_map.find(want.fqn);
      std::vector<conformance::Wanted> wanted = {want};
      all =
          all && file != index->weight_map.end() &&
          conformance::LoadInto(*place.file(file->second).make_reader(), wanted)
              .ok() &&
          AllRight(state, wanted);
    }
    if (all) return found;
  }
  return Found::kDamaged;
}

/// What other programs find, as far as any reads such files.
inline Found WhatOthersFind(const AnyPlace& place, const OldAndNew& states) {
  switch (place.format) {
    case FileFormat::kNative:
    case FileFormat::kSafetensorsOfRanks:
      return WhatIsIn(StorageAt(place), states);
    case FileFormat::kSafetensors:
    case FileFormat::kSafetensorsInPlace:
      return WhatTransformersFinds(SafetensorsPlace(place), states);
  }
  return Found::kDamaged;
}

/// What readers find. Others may still see the old checkpoint when ours sees
/// the new one (COMMIT.md tells when), but never a mix, and never none where
/// ours sees one.
inline Found WhatIsIn(const AnyPlace& place, const OldAndNew& states) {
  if (place.format == FileFormat::kNative) {
    return WhatIsIn(place.native, states);
  }
  const Found found = WhatIsIn(StorageAt(place), states);
  const Found theirs = WhatOthersFind(place, states);
  const bool may_lag = found == Found::kNew && theirs == Found::kOld;
  return theirs == found || may_lag ? found : Found::kDamaged;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_ANY_FORMAT_H_
