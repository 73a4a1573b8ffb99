#include "mapping/name_pattern.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace dcp {
namespace {

constexpr std::string_view kDigits = "0123456789";
/// Of an index: it fits an int64.
constexpr size_t kMaxDigits = 18;

bool StartsWithDigit(std::string_view text) {
  return !text.empty() && kDigits.find(text[0]) != kDigits.npos;
}

}  // namespace

StatusOr<int64_t> NumberOf(const ModelNumbers& numbers, std::string_view name) {
  const auto number = numbers.find(name);
  if (number != numbers.end()) return number->second;
  return InvalidArgument(
      "the number \"" + std::string(name) +
      "\" of the model is not known: give its config.json, or a flavor that "
      "has it");
}

Status NamePattern::AddPlaceholder(std::string_view inner) {
  const size_t plus = inner.find('+');
  Part part{.kind = Kind::kIndex, .text = std::string(inner.substr(0, plus))};
  if (plus != inner.npos) part.offset = inner.substr(plus + 1);
  const bool is_named = !part.text.empty() &&
                        (plus == inner.npos || !part.offset.empty()) &&
                        inner.find_first_of("{*") == inner.npos;
  if (!is_named) {
    return InvalidArgument("\"" + text_ + "\" has a placeholder without name");
  }
  const bool is_new =
      std::none_of(parts_.begin(), parts_.end(), [&](const Part& other) {
        return other.kind == Kind::kIndex && other.text == part.text;
      });
  if (!is_new) {
    return InvalidArgument("\"" + text_ + "\" has the placeholder " +
                           part.text + " twice");
  }
  if (!parts_.empty() && parts_.back().kind != Kind::kText) {
    return InvalidArgument("\"" + text_ +
                           "\" has nothing between two placeholders");
  }
  parts_.push_back(std::move(part));
  return absl::OkStatus();
}

StatusOr<NamePattern> NamePattern::Parse(std::string_view text) {
  if (text.size() > kMaxNbytes) {
    return InvalidArgument("a name of " + std::to_string(text.size()) +
                           " bytes is longer than " +
                           std::to_string(kMaxNbytes));
  }
  NamePattern pattern;
  pattern.text_ = text;
  if (std::count(text.begin(), text.end(), '*') >
      static_cast<ptrdiff_t>(kMaxWildcards)) {
    return InvalidArgument("\"" + pattern.text_ + "\" has more than " +
                           std::to_string(kMaxWildcards) + " *");
  }
  while (!text.empty()) {
    if (text[0] == '*') {
      pattern.parts_.push_back({.kind = Kind::kAny});
      text.remove_prefix(1);
    } else if (text[0] == '{') {
      const size_t end = text.find('}');
      if (end == text.npos) {
        return InvalidArgument("\"" + pattern.text_ + "\" has a { without }");
      }
      DCP_RETURN_IF_ERROR(pattern.AddPlaceholder(text.substr(1, end - 1)));
      text.remove_prefix(end + 1);
      if (StartsWithDigit(text)) {
        return InvalidArgument("\"" + pattern.text_ +
                               "\" has a digit behind a placeholder");
      }
    } else {
      const size_t end = std::min(text.find_first_of("{*"), text.size());
      pattern.parts_.push_back({.text = std::string(text.substr(0, end))});
      text.remove_prefix(end);
    }
  }
  if (pattern.parts_.empty()) return InvalidArgument("a name is empty");
  return pattern;
}

bool NamePattern::has_wildcard() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.kind == Kind::kAny; });
}

std::set<std::string> NamePattern::placeholders() const {
  std::set<std::string> names;
  for (const Part& part : parts_) {
    if (part.kind == Kind::kIndex) names.insert(part.text);
  }
  return names;
}

bool NamePattern::MatchFrom(std::span<const Part> parts, std::string_view rest,
                            std::vector<int64_t>* indices) {
  if (parts.empty()) return rest.empty();
  const Part& part = parts.front();
  const auto others = parts.subspan(1);
  if (part.kind == Kind::kText) {
    return rest.starts_with(part.text) &&
           MatchFrom(others, rest.substr(part.text.size()), indices);
  }
  if (part.kind == Kind::kAny) {
    for (size_t n = 0; n <= rest.size(); ++n) {
      if (MatchFrom(others, rest.substr(n), indices)) return true;
    }
    return false;
  }
  const size_t count = std::min(rest.find_first_not_of(kDigits), rest.size());
  if (count == 0 || count > kMaxDigits) return false;
  if (rest[0] == '0' && count > 1) return false;
  int64_t index = 0;
  std::from_chars(rest.data(), rest.data() + count, index);
  indices->push_back(index);
  if (MatchFrom(others, rest.substr(count), indices)) return true;
  indices->pop_back();
  return false;
}

StatusOr<std::optional<NameIndices>> NamePattern::Match(
    std::string_view name, const ModelNumbers& numbers) const {
  std::vector<int64_t> written;
  if (!MatchFrom(parts_, name, &written)) return std::nullopt;
  NameIndices indices;
  size_t next = 0;
  for (const Part& part : parts_) {
    if (part.kind != Kind::kIndex) continue;
    int64_t index = written[next++];
    if (!part.offset.empty()) {
      DCP_ASSIGN_OR_RETURN(const int64_t offset,
                           NumberOf(numbers, part.offset));
      if (__builtin_sub_overflow(index, offset, &index) || index < 0) {
        return std::nullopt;
      }
    }
    indices.emplace(part.text, index);
  }
  return indices;
}

StatusOr<std::string> NamePattern::NameOf(const NameIndices& indices,
                                          const ModelNumbers& numbers) const {
  std::string name;
  for (const Part& part : parts_) {
    if (part.kind == Kind::kText) {
      name += part.text;
      continue;
    }
    int64_t index = indices.at(part.text);
    if (!part.offset.empty()) {
      DCP_ASSIGN_OR_RETURN(const int64_t offset,
                           NumberOf(numbers, part.offset));
      if (__builtin_add_overflow(index, offset, &index)) {
        return InvalidArgument(part.offset + " is " + std::to_string(offset) +
                               ", too large for an index of " + text_);
      }
    }
    name += std::to_string(index);
  }
  return name;
}

}  // namespace dcp
