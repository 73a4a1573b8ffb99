#include "format/safetensors_shards.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/printable.h"

namespace dcp {
namespace {

constexpr std::string_view kSuffix = ".safetensors";
constexpr std::string_view kOf = "-of-";
constexpr size_t kMinDigits = 5;
// The stem of a rank's own files, around its number.
constexpr std::string_view kRankStemBegin = "shard-";
constexpr std::string_view kRankStemEnd = "-model";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

/// "%05d"
std::string FormatNumber(int64_t number) {
  const std::string digits = std::to_string(number);
  return std::string(kMinDigits - std::min(kMinDigits, digits.size()), '0') +
         digits;
}

/// Decimal digits only, at least one; nullopt also beyond int64.
std::optional<int64_t> ParseDigits(std::string_view text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end || !IsDigit(text[0])) {
    return std::nullopt;
  }
  return number;
}

/// Takes the number at the end of `text` off; nullopt unless FormatNumber
/// gives it.
std::optional<int64_t> TakeNumber(std::string_view* text) {
  size_t begin = text->size();
  while (begin > 0 && IsDigit((*text)[begin - 1])) --begin;
  const std::string_view digits = text->substr(begin);
  const auto number = ParseDigits(digits);
  if (!number || FormatNumber(*number) != digits) return std::nullopt;
  text->remove_suffix(digits.size());
  return number;
}

bool TakeSuffix(std::string_view suffix, std::string_view* text) {
  if (!text->ends_with(suffix)) return false;
  text->remove_suffix(suffix.size());
  return true;
}

/// A name without its suffix, if it has numbers.
std::optional<SafetensorsFileName> ParseNumbered(std::string_view text) {
  const auto count = TakeNumber(&text);
  if (!count || !TakeSuffix(kOf, &text)) return std::nullopt;
  const auto number = TakeNumber(&text);
  if (!number || !TakeSuffix("-", &text) || text.empty() || *number < 1 ||
      *number > *count) {
    return std::nullopt;
  }
  return SafetensorsFileName{
      .stem = std::string(text), .number = *number, .count = *count};
}

/// A tensor, and the one that has its storage already.
struct Follower {
  size_t tensor;
  size_t first;
};

void AddFollowers(std::span<const Follower> followers, size_t tensor_count,
                  std::vector<SafetensorsShard>* shards) {
  std::vector<size_t> shard_of(tensor_count);
  for (size_t shard = 0; shard < shards->size(); ++shard) {
    for (const size_t i : (*shards)[shard].tensors) shard_of[i] = shard;
  }
  for (const Follower& follower : followers) {
    (*shards)[shard_of[follower.first]].tensors.push_back(follower.tensor);
  }
}

/// How many bytes a unit has; nullopt if there is no such unit.
std::optional<int64_t> UnitNbytes(std::string_view unit) {
  constexpr std::string_view kPrefixes = "kmgt";
  std::string lower(unit);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (lower.empty() || lower == "b") return 1;
  const size_t power = kPrefixes.find(lower[0]);
  const bool is_binary = lower.size() == 3 && lower[1] == 'i';
  if (power == kPrefixes.npos || !lower.ends_with('b') ||
      !(is_binary || lower.size() == 2)) {
    return std::nullopt;
  }
  int64_t nbytes = 1;
  for (size_t i = 0; i <= power; ++i) nbytes *= is_binary ? 1024 : 1000;
  return nbytes;
}

/// `whole`.`fraction` units, rounded down; nullopt if it does not fit int64.
std::optional<int64_t> Multiply(int64_t whole, std::string_view fraction,
                                int64_t unit_nbytes) {
  int64_t nbytes = 0;
  if (__builtin_mul_overflow(whole, unit_nbytes, &nbytes)) return std::nullopt;
  if (fraction.empty()) return nbytes;
  constexpr size_t kMaxDigits = 6;  // 10^6 TiB fit
  const auto numerator = ParseDigits(fraction);
  if (!numerator || fraction.size() > kMaxDigits) return std::nullopt;
  int64_t denominator = 1;
  for (size_t i = 0; i < fraction.size(); ++i) denominator *= 10;
  const int64_t part = *numerator * unit_nbytes / denominator;
  if (__builtin_add_overflow(nbytes, part, &nbytes)) return std::nullopt;
  return nbytes;
}

std::optional<int64_t> ParseNbytes(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  size_t end = 0;
  while (end < text.size() && (IsDigit(text[end]) || text[end] == '.')) ++end;
  const std::string_view amount = text.substr(0, end);
  std::string_view unit = text.substr(end);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);

  const size_t point = amount.find('.');
  const auto whole = ParseDigits(amount.substr(0, point));
  const std::string_view fraction =
      point == amount.npos ? std::string_view() : amount.substr(point + 1);
  const auto unit_nbytes = UnitNbytes(unit);
  if (!whole || !unit_nbytes) return std::nullopt;
  // There are no parts of bytes.
  if (point != amount.npos && (fraction.empty() || *unit_nbytes == 1)) {
    return std::nullopt;
  }
  return Multiply(*whole, fraction, *unit_nbytes);
}

}  // namespace

std::string FormatSafetensorsFileName(const SafetensorsFileName& name) {
  std::string text = name.stem;
  if (name.number != 0) {
    text += "-" + FormatNumber(name.number);
    text += kOf;
    text += FormatNumber(name.count);
  }
  return text + std::string(kSuffix);
}

std::optional<SafetensorsFileName> ParseSafetensorsFileName(
    std::string_view text) {
  if (!TakeSuffix(kSuffix, &text) || text.empty() ||
      text.find('/') != text.npos || text.find('\0') != text.npos) {
    return std::nullopt;
  }
  if (auto numbered = ParseNumbered(text)) return numbered;
  return SafetensorsFileName{.stem = std::string(text)};
}

std::string SafetensorsShardName(std::string_view stem, int64_t number,
                                 int64_t count) {
  SafetensorsFileName name{.stem = std::string(stem)};
  if (count > 1) {
    name.number = number;
    name.count = count;
  }
  return FormatSafetensorsFileName(name);
}

std::string RankShardName(int64_t rank, int64_t number, int64_t count) {
  return FormatSafetensorsFileName({.stem = std::string(kRankStemBegin) +
                                            FormatNumber(rank + 1) +
                                            std::string(kRankStemEnd),
                                    .number = number,
                                    .count = count});
}

bool IsRankShardName(std::string_view text) {
  const auto name = ParseSafetensorsFileName(text);
  if (!name || name->number == 0) return false;
  std::string_view stem = name->stem;
  if (!stem.starts_with(kRankStemBegin) || !TakeSuffix(kRankStemEnd, &stem)) {
    return false;
  }
  const auto rank = TakeNumber(&stem);
  return rank && *rank > 0 && stem == kRankStemBegin;
}

std::vector<SafetensorsShard> SplitIntoShards(
    std::span<const ShardTensor> tensors, int64_t max_nbytes) {
  std::vector<SafetensorsShard> shards;
  SafetensorsShard current;
  std::unordered_map<int64_t, size_t> first_of_storage;
  std::vector<Follower> followers;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const ShardTensor& tensor = tensors[i];
    if (tensor.storage_id) {
      const auto [first, is_new] =
          first_of_storage.try_emplace(*tensor.storage_id, i);
      if (!is_new) {
        followers.push_back({.tensor = i, .first = first->second});
        continue;
      }
    }
    if (tensor.nbytes > max_nbytes) {
      shards.push_back({.tensors = {i}, .nbytes = tensor.nbytes});
      continue;
    }
    if (tensor.nbytes > max_nbytes - current.nbytes) {
      shards.push_back(std::exchange(current, {}));
    }
    current.tensors.push_back(i);
    current.nbytes += tensor.nbytes;
  }
  if (!current.tensors.empty()) shards.push_back(std::move(current));
  AddFollowers(followers, tensors.size(), &shards);
  return shards;
}

StatusOr<int64_t> ParseShardNbytes(std::string_view text) {
  const auto nbytes = ParseNbytes(text);
  if (nbytes && *nbytes > 0) return *nbytes;
  return InvalidArgument("\"" + Printable(text) +
                         "\" is no size of a file: give bytes, or a number "
                         "with KB, MB, GB, TB, KiB, MiB, GiB or TiB");
}

}  // namespace dcp
