#include "checkpoint/save_answer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/wire.h"
#include "checkpoint/rank_exchange.h"

namespace dcp {
namespace {

constexpr std::array<std::string_view, 8> kSpanNames = {
    "plan", "copy", "fill", "submit", "write", "sync", "meet", "commit"};

}  // namespace

std::string SerializeSaveAnswer(const StatusOr<SaveResult>& result,
                                std::span<const TraceSpan> spans) {
  WireWriter out;
  out.PutString(SealMessage(result.ok()
                                ? StatusOr<std::string>(result->metadata_pickle)
                                : result.status()));
  out.PutVarint(spans.size());
  for (const TraceSpan& span : spans) {
    const auto name = std::find(kSpanNames.begin(), kSpanNames.end(),
                                std::string_view(span.name));
    out.PutU8(static_cast<uint8_t>(name - kSpanNames.begin()));
    out.PutSigned(span.begin.count());
    out.PutSigned(span.end.count());
    out.PutVarint(span.thread);
    out.PutSigned(span.nbytes);
  }
  return std::move(out).Take();
}

StatusOr<SaveAnswer> ParseSaveAnswer(std::string_view data) {
  WireReader in(data, "a saver's answer");
  const std::string_view sealed = in.String();
  SaveAnswer answer{.result = SaveResult{}};
  const size_t count = in.Count(5);
  for (size_t i = 0; in.ok() && i < count; ++i) {
    const uint8_t name = in.U8();
    const TraceSpan span{.begin = std::chrono::nanoseconds(in.Signed()),
                         .end = std::chrono::nanoseconds(in.Signed()),
                         .thread = in.Varint(),
                         .nbytes = in.Signed()};
    if (name >= kSpanNames.size()) continue;
    answer.spans.push_back(span);
    answer.spans.back().name = kSpanNames[name].data();
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  StatusOr<std::string> opened = OpenMessage(sealed);
  answer.result = opened.ok()
                      ? StatusOr<SaveResult>(SaveResult{*std::move(opened)})
                      : opened.status();
  return answer;
}

}  // namespace dcp
