#include "mapping/number_expr.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "mapping/name_pattern.h"

namespace dcp {
namespace {

/// The values, with nullopt for what is left.
StatusOr<std::vector<std::optional<int64_t>>> ValuesOf(
    std::span<const NumberExpr> sizes, const ModelNumbers& numbers) {
  std::vector<std::optional<int64_t>> values;
  for (const NumberExpr& size : sizes) {
    values.emplace_back();
    if (size.is_rest()) continue;
    DCP_ASSIGN_OR_RETURN(values.back(), size.ValueOf(numbers));
  }
  if (std::count(values.begin(), values.end(), std::nullopt) > 1) {
    return InvalidArgument("more than one size is -1");
  }
  return values;
}

}  // namespace

StatusOr<NumberExpr::Term> NumberExpr::ParseTerm(std::string_view text) {
  Term term;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, term.number);
  if (read.ec == std::errc() && read.ptr == end) return term;
  if (text.empty()) return InvalidArgument("a number has no name");
  term.name = text;
  return term;
}

StatusOr<NumberExpr> NumberExpr::Parse(std::string_view text) {
  NumberExpr parsed(0);
  size_t end = std::min(text.find_first_of("*/"), text.size());
  DCP_ASSIGN_OR_RETURN(parsed.first_, ParseTerm(text.substr(0, end)));
  while (end < text.size()) {
    const bool divides = text[end] == '/';
    text.remove_prefix(end + 1);
    end = std::min(text.find_first_of("*/"), text.size());
    DCP_ASSIGN_OR_RETURN(Term term, ParseTerm(text.substr(0, end)));
    term.divides = divides;
    parsed.factors_.push_back(std::move(term));
  }
  return parsed;
}

StatusOr<int64_t> NumberExpr::ValueOf(const Term& term,
                                      const ModelNumbers& numbers) {
  if (term.name.empty()) return term.number;
  return NumberOf(numbers, term.name);
}

StatusOr<int64_t> NumberExpr::ValueOf(const ModelNumbers& numbers) const {
  DCP_ASSIGN_OR_RETURN(int64_t value, ValueOf(first_, numbers));
  for (const Term& term : factors_) {
    DCP_ASSIGN_OR_RETURN(const int64_t factor, ValueOf(term, numbers));
    if (term.divides ? factor <= 0 || value % factor != 0
                     : __builtin_mul_overflow(value, factor, &value)) {
      return InvalidArgument(std::to_string(value) + " and " +
                             std::to_string(factor) + " of " + term.name +
                             " give no whole number");
    }
    if (term.divides) value /= factor;
  }
  if (value > 0) return value;
  return InvalidArgument(std::to_string(value) + " of " + first_.name +
                         " is no size");
}

bool NumberExpr::IsKnown(const ModelNumbers& numbers) const {
  const auto is_known = [&](const Term& term) {
    return term.name.empty() || numbers.contains(term.name);
  };
  return is_known(first_) &&
         std::all_of(factors_.begin(), factors_.end(), is_known);
}

StatusOr<Dims> ResolveProduct(std::span<const NumberExpr> sizes, int64_t numel,
                              const ModelNumbers& numbers) {
  DCP_ASSIGN_OR_RETURN(const auto values, ValuesOf(sizes, numbers));
  int64_t product = 1;
  Dims resolved;
  std::optional<int> rest;
  for (const std::optional<int64_t>& value : values) {
    if (!value) rest = resolved.size();
    resolved.push_back(value.value_or(1));
    if (__builtin_mul_overflow(product, resolved[resolved.size() - 1],
                               &product)) {
      return InvalidArgument("the sizes " + ToString(resolved) +
                             " are too large");
    }
  }
  if (rest && numel % product == 0) {
    resolved[*rest] = numel / product;
    return resolved;
  }
  if (!rest && product == numel) return resolved;
  return InvalidArgument(std::to_string(numel) +
                         " elements cannot have the sizes " +
                         ToString(resolved));
}

StatusOr<std::vector<int64_t>> ResolveSum(std::span<const NumberExpr> sizes,
                                          int64_t total,
                                          const ModelNumbers& numbers) {
  DCP_ASSIGN_OR_RETURN(const auto values, ValuesOf(sizes, numbers));
  int64_t left = total;
  for (const std::optional<int64_t>& value : values) {
    left -= std::min(value.value_or(0), left);
  }
  std::vector<int64_t> resolved;
  int64_t sum = 0;
  for (const std::optional<int64_t>& value : values) {
    resolved.push_back(value.value_or(left));
    if (resolved.back() > total - sum || resolved.back() == 0) {
      return InvalidArgument("a size of " + std::to_string(total) +
                             " is not the sum of the rule's sizes");
    }
    sum += resolved.back();
  }
  if (sum == total) return resolved;
  return InvalidArgument("the rule's sizes have the sum " +
                         std::to_string(sum) + ", not " +
                         std::to_string(total));
}

}  // namespace dcp
