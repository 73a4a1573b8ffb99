// On the wire (base/wire.h): u8 form, then kPlain: all that is left, the
// metadata; kPacked: varint of their bytes, and all that is left, a zstd frame
// of them.

#include "checkpoint/verdict.h"

#include <cstdint>
#include <limits>
#include <utility>

#include "base/wire.h"
#include "format/zstd_transform.h"

namespace dcp {
namespace {

enum class Form : uint8_t { kPlain = 0, kPacked = 1 };

constexpr const char* kVerdict = "the verdict of a save";

// Metadata say nearly the same of every chunk: the fastest level does.
constexpr int kLevel = 1;

std::string WithForm(Form form, std::string_view data) {
  std::string message(1, static_cast<char>(form));
  message += data;
  return message;
}

}  // namespace

std::string SerializeVerdict(std::string_view metadata_pickle) {
  if (metadata_pickle.size() >= kMinPackedNbytes) {
    const auto frame = ZstdCompress(metadata_pickle, {.level = kLevel});
    // It is published: what cannot be packed is sent as it is.
    if (frame.ok() && frame->size() < metadata_pickle.size()) {
      WireWriter out;
      out.PutVarint(metadata_pickle.size());
      return WithForm(Form::kPacked, std::move(out).Take() + *frame);
    }
  }
  return WithForm(Form::kPlain, metadata_pickle);
}

StatusOr<std::string> ParseVerdict(std::string_view data) {
  WireReader in(data, kVerdict);
  const uint8_t form = in.U8();
  DCP_RETURN_IF_ERROR(in.status());
  if (form == static_cast<uint8_t>(Form::kPlain)) {
    return std::string(data.substr(1));
  }
  const uint64_t nbytes = in.Varint();
  const bool is_possible = nbytes <= std::numeric_limits<int64_t>::max();
  if (form != static_cast<uint8_t>(Form::kPacked) || !is_possible) in.Fail();
  DCP_RETURN_IF_ERROR(in.status());
  auto metadata = ZstdDecompress(data.substr(data.size() - in.remaining()),
                                 static_cast<int64_t>(nbytes));
  if (!metadata.ok()) return Annotate(metadata.status(), kVerdict);
  if (metadata->size() != nbytes) {
    return DataLoss(std::string(kVerdict) + " is not as long as it says");
  }
  return metadata;
}

}  // namespace dcp
