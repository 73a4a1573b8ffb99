// On the wire (base/wire.h):
//
//   u8 version
//   string of the storage's notes
//   count of results, then each, in terms of the one before:
//     key (plan/plan_wire.h); flag, and dims of the offset if there is one;
//       signed index, -1 for none; signed bytes
//     path, as a key; where it begins, signed, from the end of the one before;
//       signed length beyond its bytes; count of strings of transforms
//
// Items of a file lie one behind the other, under keys that are alike: one
// takes some 25 bytes.

#include "checkpoint/write_outcome_codec.h"

#include <utility>

#include "base/wire.h"
#include "plan/plan_wire.h"

namespace dcp {
namespace {

// A reader refuses other versions: the ranks of a job run the same library.
constexpr uint8_t kVersion = 2;

// Of any numbers, as a message may say anything.
int64_t Sum(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) +
                              static_cast<uint64_t>(b));
}
int64_t Difference(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) -
                              static_cast<uint64_t>(b));
}

int64_t EndOf(const StorageInfo& info) { return Sum(info.offset, info.length); }

void Put(const WriteResult& result, const WriteResult& previous,
         WireWriter& out) {
  const StorageInfo& info = result.storage_info;
  const StorageInfo& before = previous.storage_info;
  PutKey(result.index.fqn, previous.index.fqn, &out);
  out.PutFlag(result.index.offset.has_value());
  if (result.index.offset) out.PutDims(*result.index.offset);
  out.PutSigned(result.index.index.value_or(-1));
  out.PutSigned(result.size_in_bytes);
  PutKey(info.relative_path, before.relative_path, &out);
  out.PutSigned(Difference(info.offset, EndOf(before)));
  out.PutSigned(Difference(info.length, result.size_in_bytes));
  out.PutVarint(info.transform_descriptors.size());
  for (const std::string& name : info.transform_descriptors) {
    out.PutString(name);
  }
}

WriteResult Get(const WriteResult& previous, WireReader& in) {
  WriteResult result;
  StorageInfo& info = result.storage_info;
  const StorageInfo& before = previous.storage_info;
  result.index.fqn = GetKey(previous.index.fqn, &in);
  if (in.Flag()) result.index.offset = in.GetDims();
  if (const int64_t hint = in.Signed(); hint >= 0) result.index.index = hint;
  result.size_in_bytes = in.Signed();
  info.relative_path = GetKey(before.relative_path, &in);
  info.offset = Sum(in.Signed(), EndOf(before));
  info.length = Sum(in.Signed(), result.size_in_bytes);
  const size_t count = in.Count(1);
  for (size_t i = 0; in.ok() && i < count; ++i) {
    info.transform_descriptors.emplace_back(in.String());
  }
  return result;
}

}  // namespace

std::string SerializeWriteOutcome(const WriteOutcome& outcome) {
  WireWriter out;
  out.PutU8(kVersion);
  out.PutString(outcome.storage_data);
  out.PutVarint(outcome.results.size());
  const WriteResult none;
  const WriteResult* previous = &none;
  for (const WriteResult& result : outcome.results) {
    Put(result, *previous, out);
    previous = &result;
  }
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
  constexpr size_t kMinResultNbytes = 10;
  const size_t count = in.Count(kMinResultNbytes);
  outcome.results.reserve(count);
  const WriteResult none;
  const WriteResult* previous = &none;
  for (size_t i = 0; in.ok() && i < count; ++i) {
    outcome.results.push_back(Get(*previous, in));
    previous = &outcome.results.back();
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return outcome;
}

}  // namespace dcp
