// Golden files as fuzzing seeds.

#ifndef DCP_TESTS_FUZZ_GOLDEN_SEEDS_H_
#define DCP_TESTS_FUZZ_GOLDEN_SEEDS_H_

#include <algorithm>
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "dcp/metadata.h"
#include "dcp/metadata_codec.h"
#include "format/golden.h"

namespace dcp {

/// Seeds stay small: a run should take microseconds.
inline constexpr size_t kMaxSeedNbytes = size_t{32} << 10;

/// All golden `.metadata` files.
inline std::vector<std::string> MetadataSeeds() {
  std::vector<std::string> seeds;
  for (const std::filesystem::path& folder : GoldenCheckpoints()) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (!entry.path().filename().string().ends_with(".metadata")) continue;
      std::string content = ReadWholeFile(entry.path());
      if (content.size() <= kMaxSeedNbytes) seeds.push_back(std::move(content));
    }
  }
  return seeds;
}

/// The items of all golden checkpoints that are tensors, or that are objects.
enum class ItemKind : uint8_t { kTensor, kObject };
inline std::vector<std::string> ItemSeeds(ItemKind kind) {
  std::vector<std::string> seeds;
  for (const std::filesystem::path& folder : GoldenCheckpoints()) {
    const auto metadata = ParseMetadata(ReadWholeFile(folder / ".metadata"));
    if (!metadata.ok()) continue;
    for (const auto& [index, info] : metadata->storage_data) {
      if (index.offset.has_value() != (kind == ItemKind::kTensor)) continue;
      const std::string file = ReadWholeFile(folder / info.relative_path);
      const auto offset = static_cast<size_t>(info.offset);
      const auto length = static_cast<size_t>(info.length);
      if (offset + length > file.size() || length > kMaxSeedNbytes) continue;
      seeds.push_back(file.substr(offset, length));
    }
  }
  std::sort(seeds.begin(), seeds.end());  // the same in each run
  return seeds;
}

/// Opcodes and names of pickles.
inline std::vector<std::string> PickleDictionary() {
  return {"\x80\x02",
          "\x80\x04",
          "\x93",
          "\x94",
          "\x81",
          "\x85",
          "\x86",
          "\x87",
          "R",
          "b",
          "(",
          "t",
          "u",
          "s",
          "e",
          "a",
          ".",
          ")",
          "]",
          "}",
          "Q",
          std::string("r\0\0\0\x08", 5),
          std::string("j\0\0\0\0", 5),
          "cposix\nsystem\n",
          "ctorch\nSize\n",
          "ctorch\nfloat32\n",
          "ccollections\nOrderedDict\n",
          "c_codecs\nencode\n",
          "\x8c\x05torch",
          "\x8c\x04Size",
          "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
          "state_dict_metadata",
          "storage_data",
          "chunks",
          "offsets"};
}

/// Signatures of zip archives.
inline std::vector<std::string> ZipDictionary() {
  std::vector<std::string> words = PickleDictionary();
  words.insert(words.end(), {"PK\1\2", "PK\3\4", "PK\5\6", "PK\6\6", "PK\6\7",
                             "PK\7\x08", "archive/data.pkl", "archive/data/0",
                             "archive/byteorder", "big"});
  return words;
}

}  // namespace dcp

#endif  // DCP_TESTS_FUZZ_GOLDEN_SEEDS_H_
