#include "storage/rank_notes.h"

#include <utility>

#include "base/wire.h"

namespace dcp {

std::string SerializeRankNotes(const RankNotes& notes) {
  WireWriter out;
  out.PutSigned(notes.next_file_index);
  out.PutFlag(notes.published.has_value());
  if (notes.published) {
    out.PutVarint(notes.published->size());
    for (const std::string& name : *notes.published) out.PutString(name);
  }
  return std::move(out).Take();
}

StatusOr<RankNotes> ParseRankNotes(std::string_view data) {
  WireReader in(data, "the coordinator's notes");
  RankNotes notes{.next_file_index = in.Signed()};
  if (in.Flag()) {
    const size_t count = in.Count(1);
    notes.published.emplace();
    for (size_t i = 0; i < count; ++i) {
      notes.published->emplace(in.String());
    }
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return notes;
}

}  // namespace dcp
