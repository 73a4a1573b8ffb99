// Which tensor goes into which of several safetensors files, and their names,
// as Hugging Face's tools have them.

#ifndef DCP_FORMAT_SAFETENSORS_SHARDS_H_
#define DCP_FORMAT_SAFETENSORS_SHARDS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace dcp {

/// "<stem>.safetensors" or "<stem>-00001-of-00002.safetensors". The stem of a
/// model's files is "model", or "model.<variant>".
struct SafetensorsFileName {
  std::string stem;
  int64_t number = 0;  ///< from 1 to `count`; 0 in a name without numbers
  int64_t count = 0;
  bool operator==(const SafetensorsFileName&) const = default;
};
std::string FormatSafetensorsFileName(const SafetensorsFileName& name);
/// nullopt unless FormatSafetensorsFileName gives `text`, a name without a
/// directory. Numbers have five digits or more, and then no zero before them;
/// else they are a part of the stem.
std::optional<SafetensorsFileName> ParseSafetensorsFileName(
    std::string_view text);

/// The name of file `number`, from 1, of `count`: one alone has no numbers.
std::string SafetensorsShardName(std::string_view stem, int64_t number,
                                 int64_t count);

/// The name of file `number`, from 1, of `count` that rank `rank` has for
/// itself: "shard-00003-model-00001-of-00001.safetensors" of rank 2 (torch 2.13
/// _hf_utils _gen_file_name).
std::string RankShardName(int64_t rank, int64_t number, int64_t count);
/// Whether RankShardName gives `text` for some file.
bool IsRankShardName(std::string_view text);

struct ShardTensor {
  int64_t nbytes = 0;
  /// Tensors of one storage are stored once, so they go where the first of
  /// them goes. nullopt: it shares nothing.
  std::optional<int64_t> storage_id;
};

struct SafetensorsShard {
  /// Indexes of tensors; those that follow another one stand last.
  std::vector<size_t> tensors;
  int64_t nbytes = 0;  ///< what they share counted once
  bool operator==(const SafetensorsShard&) const = default;
};

/// Fills shards in the order of `tensors` (huggingface_hub 2.4
/// split_state_dict_into_shards_factory). A tensor that is larger than
/// `max_nbytes` has a shard of its own, and the next ones go on with the shard
/// before it. No tensors, no shards. The sizes' sum must fit int64.
std::vector<SafetensorsShard> SplitIntoShards(
    std::span<const ShardTensor> tensors, int64_t max_nbytes);

/// Reads a size that a user gives: "5GB", "500 MB", "1.5TB" (powers of 1000),
/// "5GiB" (of 1024), or a number of bytes. Case does not matter.
///
/// \error kInvalidArgument  something else, 0, or more than int64 holds
StatusOr<int64_t> ParseShardNbytes(std::string_view text);

}  // namespace dcp

#endif  // DCP_FORMAT_SAFETENSORS_SHARDS_H_
