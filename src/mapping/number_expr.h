// NumberExpr: a size that a mapping's rule gives by numbers of the model.

#ifndef DCP_MAPPING_NUMBER_EXPR_H_
#define DCP_MAPPING_NUMBER_EXPR_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "dcp/mapping.h"
#include "dcp/status.h"

namespace dcp {

/// "num_attention_heads*attention_head_dim", "hidden_size/2" or a number:
/// factors are numbers and names of them, from left to right.
class NumberExpr {
 public:
  /// Of a number; below 0 it is "what is left".
  explicit NumberExpr(int64_t number) : first_{.number = number} {}
  /// \error kInvalidArgument  no such expression
  static StatusOr<NumberExpr> Parse(std::string_view text);

  /// Whether it stands for what the others of a list leave.
  bool is_rest() const {
    return factors_.empty() && first_.name.empty() && first_.number < 0;
  }

  /// Not for is_rest().
  /// \error kInvalidArgument  a number is missing; the result is no whole
  ///     number above 0
  StatusOr<int64_t> ValueOf(const ModelNumbers& numbers) const;

  /// Whether all numbers are there.
  bool IsKnown(const ModelNumbers& numbers) const;

 private:
  struct Term {
    std::string name;  ///< empty: `number` is meant
    int64_t number = 0;
    bool divides = false;
  };
  static StatusOr<Term> ParseTerm(std::string_view text);
  static StatusOr<int64_t> ValueOf(const Term& term,
                                   const ModelNumbers& numbers);

  Term first_;
  std::vector<Term> factors_;
};

/// The values of `sizes`, of which one may be what is left of `numel`: their
/// product is `numel`.
/// \error kInvalidArgument  it cannot be
StatusOr<Dims> ResolveProduct(std::span<const NumberExpr> sizes, int64_t numel,
                              const ModelNumbers& numbers);

/// Likewise, with the sum `total`; none is 0.
StatusOr<std::vector<int64_t>> ResolveSum(std::span<const NumberExpr> sizes,
                                          int64_t total,
                                          const ModelNumbers& numbers);

}  // namespace dcp

#endif  // DCP_MAPPING_NUMBER_EXPR_H_
