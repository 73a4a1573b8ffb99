#include "checkpoint/in_doubt.h"

#include <algorithm>

namespace dcp {
namespace {

constexpr char kInDoubt[] = "commit";

}  // namespace

Status MarkInDoubt(const Status& status) {
  ErrorDetail detail = GetErrorDetail(status).value_or(ErrorDetail{});
  detail.op = kInDoubt;
  return WithDetail(
      Annotate(status,
               "while publishing; the checkpoint may be the old or the new "
               "one, whole in either case"),
      detail);
}

bool HasOneInDoubt(const RankFailures& failures) {
  return std::any_of(failures.by_rank.begin(), failures.by_rank.end(),
                     [](const auto& failure) {
                       const auto detail = GetErrorDetail(failure.second);
                       return detail && detail->op == kInDoubt;
                     });
}

}  // namespace dcp
