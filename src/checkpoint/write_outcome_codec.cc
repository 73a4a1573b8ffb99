#include "checkpoint/write_outcome_codec.h"

#include <utility>

#include "base/wire.h"

namespace dcp {
namespace {

// A reader refuses other versions: the ranks of a job run the same library.
constexpr uint8_t kVersion = 1;

void Put(const WriteResult& result, WireWriter& out) {
  out.PutString(result.index.fqn);
  out.PutFlag(result.index.offset.has_value());
  if (result.index.offset) out.PutDims(*result.index.offset);
  out.PutSigned(result.index.index.value_or(-1));
  out.PutSigned(result.size_in_bytes);
  out.PutString(result.storage_info.relative_path);
  out.PutSigned(result.storage_info.offset);
  out.PutSigned(result.storage_info.length);
  out.PutVarint(result.storage_info.transform_descriptors.size());
  for (const std::string& name : result.storage_info.transform_descriptors) {
    out.PutString(name);
  }
}

WriteResult Get(WireReader& in) {
  WriteResult result;
  result.index.fqn = in.String();
  if (in.U8() != 0) result.index.offset = in.GetDims();
  if (const int64_t hint = in.Signed(); hint >= 0) result.index.index = hint;
  result.size_in_bytes = in.Signed();
  result.storage_info.relative_path = in.String();
  result.storage_info.offset = in.Signed();
  result.storage_info.length = in.Signed();
  const size_t count = in.Count(1);
  for (size_t i = 0; in.ok() && i < count; ++i) {
    result.storage_info.transform_descriptors.emplace_back(in.String());
  }
  return result;
}

}  // namespace

std::string SerializeWriteOutcome(const WriteOutcome& outcome) {
  WireWriter out;
  out.PutU8(kVersion);
  out.PutString(outcome.storage_data);
  out.PutVarint(outcome.results.size());
  for (const WriteResult& result : outcome.results) Put(result, out);
  return std::move(out).Take();
}

StatusOr<WriteOutcome> ParseWriteOutcome(std::string_view data) {
  WireReader in(data, "a rank's write results");
  if (in.U8() != kVersion) {
    return FailedPrecondition(
        "the ranks run different versions of dcp: their write results cannot "
        "be read");
  }
  WriteOutcome outcome{.storage_data = std::string(in.String())};
  const size_t count = in.Count(8);
  outcome.results.reserve(count);
  for (size_t i = 0; in.ok() && i < count; ++i) {
    outcome.results.push_back(Get(in));
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return outcome;
}

}  // namespace dcp
