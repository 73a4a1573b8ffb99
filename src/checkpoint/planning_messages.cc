// On the wire (base/wire.h), each after its version (plan/plan_wire.h):
//
//   offer    u8 form, digest of the state and of the plan that is held, or a
//            string: the plan message; string of notes
//   reply    u8 kind, then strings of the share and notes; digest of the plan
//            and a string of notes; u8 whether it is asked; two digests and
//            strings of the share and notes; or nothing
//   parts    digest of the state without objects, string: the plan message of
//            the objects
//   state    options, string of the spec (plan/state_spec.cc)
//   joined   u8 whether there is more; digest; options; count of states, each a
//            string; count of runs of ranks that have the same, and a string of
//            them: each the number of their state and how many they are
//
// Digests are two u64, the low one first. Options are u8 dedup_to_lowest_rank
// and signed split_nbytes.

#include "checkpoint/planning_messages.h"

#include <utility>

#include "base/wire.h"
#include "plan/plan_wire.h"

namespace dcp {
namespace {

// Ranks of one version also derive the same plan of the same states: a change
// to that is another version, which no older one reads, although no message
// looks different. A rank's first message once was its plan and had no version:
// it began with a length, of more bytes than there are versions.
constexpr WireVersions kVersions{.oldest = 2, .newest = 2, .oldest_reader = 2};
constexpr const char* kOffer = "what a rank says that it saves";
constexpr const char* kReply = "the answer to what a rank saves";
constexpr const char* kParts = "the objects of a rank";
constexpr const char* kState = "the state of a rank";
constexpr const char* kJoined = "the states of all ranks";

enum class OfferForm : uint8_t { kAnnounced = 0, kPlan = 1 };

void PutOptions(const GlobalPlanOptions& options, WireWriter* out) {
  out->PutFlag(options.dedup_to_lowest_rank);
  out->PutSigned(options.split_nbytes);
}

GlobalPlanOptions GetOptions(WireReader* in) {
  const bool takes_lowest = in->Flag();
  return {.dedup_to_lowest_rank = takes_lowest, .split_nbytes = in->Signed()};
}

/// Begins to read a message, which `what` names.
StatusOr<WireReader> Open(std::string_view data, const char* what) {
  WireReader in(data, what);
  DCP_RETURN_IF_ERROR(GetVersion(what, kVersions, &in).status());
  return in;
}

void PutRuns(std::span<const uint32_t> numbers, WireWriter* out) {
  WireWriter runs;
  size_t count = 0;
  for (size_t begin = 0, end = 0; begin < numbers.size(); begin = end) {
    while (end < numbers.size() && numbers[end] == numbers[begin]) ++end;
    runs.PutVarint(numbers[begin]);
    runs.PutVarint(end - begin);
    ++count;
  }
  out->PutVarint(count);
  out->PutString(runs.data());
}

std::vector<uint32_t> GetRuns(size_t world_size, size_t states,
                              WireReader* from) {
  std::vector<uint32_t> numbers;
  const uint64_t count = from->Varint();
  WireReader in(from->String(), kJoined);
  for (uint64_t left = count; in.ok() && left > 0; --left) {
    const uint64_t number = in.Varint();
    const uint64_t ranks = in.Varint();
    if (number >= states || ranks == 0 || ranks > world_size - numbers.size()) {
      in.Fail();
      break;
    }
    numbers.insert(numbers.end(), ranks, static_cast<uint32_t>(number));
  }
  if (!in.Finish().ok() || numbers.size() != world_size) from->Fail();
  return numbers;
}

}  // namespace

std::string SerializeOffer(const PlanOffer& offer) {
  WireWriter out;
  PutVersion(kVersions, &out);
  if (const auto* state = std::get_if<AnnouncedState>(&offer.state)) {
    out.PutU8(static_cast<uint8_t>(OfferForm::kAnnounced));
    PutDigest(state->digest, &out);
    PutDigest(state->held, &out);
  } else {
    out.PutU8(static_cast<uint8_t>(OfferForm::kPlan));
    out.PutString(std::get<std::string>(offer.state));
  }
  out.PutString(offer.notes);
  return std::move(out).Take();
}

StatusOr<PlanOffer> ParseOffer(std::string_view data) {
  DCP_ASSIGN_OR_RETURN(WireReader in, Open(data, kOffer));
  PlanOffer offer;
  const uint8_t form = in.U8();
  if (form == static_cast<uint8_t>(OfferForm::kAnnounced)) {
    const Digest128 digest = GetDigest(&in);
    offer.state = AnnouncedState{.digest = digest, .held = GetDigest(&in)};
  } else if (form == static_cast<uint8_t>(OfferForm::kPlan)) {
    offer.state = std::string(in.String());
  } else {
    in.Fail();
  }
  offer.notes = in.String();
  DCP_RETURN_IF_ERROR(in.Finish());
  return offer;
}

std::string SerializeReply(const PlanReply& reply) {
  WireWriter out;
  PutVersion(kVersions, &out);
  out.PutU8(static_cast<uint8_t>(reply.index()));
  if (const auto* share = std::get_if<TakeShare>(&reply)) {
    out.PutString(share->share);
    out.PutString(share->notes);
  } else if (const auto* derived = std::get_if<TakeDerived>(&reply)) {
    PutDigest(derived->id, &out);
    out.PutString(derived->notes);
  } else if (const auto* state = std::get_if<SendState>(&reply)) {
    out.PutFlag(state->is_asked);
  } else if (const auto* beside = std::get_if<TakeBeside>(&reply)) {
    PutDigest(beside->id, &out);
    PutDigest(beside->tensors, &out);
    out.PutString(beside->share);
    out.PutString(beside->notes);
  }
  return std::move(out).Take();
}

StatusOr<PlanReply> ParseReply(std::string_view data) {
  DCP_ASSIGN_OR_RETURN(WireReader in, Open(data, kReply));
  PlanReply reply = SendPlan{};
  switch (in.U8()) {
    case 0: {
      std::string share(in.String());
      reply = TakeShare{.share = std::move(share),
                        .notes = std::string(in.String())};
      break;
    }
    case 1: {
      const Digest128 id = GetDigest(&in);
      reply = TakeDerived{.id = id, .notes = std::string(in.String())};
      break;
    }
    case 2:
      reply = SendState{.is_asked = in.Flag()};
      break;
    case 3:
      break;
    case 4:
      reply = SendObjects{};
      break;
    case 5: {
      TakeBeside beside{.id = GetDigest(&in)};
      beside.tensors = GetDigest(&in);
      beside.share = in.String();
      beside.notes = in.String();
      reply = std::move(beside);
      break;
    }
    default:
      in.Fail();
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return reply;
}

bool WasLastReply(std::string_view data) {
  constexpr size_t kKind = 2;  // behind the two versions
  if (data.size() <= kKind) return false;
  const auto kind = static_cast<uint8_t>(data[kKind]);
  return kind == 0 || kind == 1 || kind == 5;
}

std::string SerializeParts(const StateParts& parts) {
  WireWriter out;
  PutVersion(kVersions, &out);
  PutDigest(parts.tensors, &out);
  out.PutString(parts.objects);
  return std::move(out).Take();
}

StatusOr<StateParts> ParseParts(std::string_view data) {
  DCP_ASSIGN_OR_RETURN(WireReader in, Open(data, kParts));
  StateParts parts{.tensors = GetDigest(&in)};
  parts.objects = in.String();
  DCP_RETURN_IF_ERROR(in.Finish());
  return parts;
}

std::string StateMessage(const StateSpec& spec,
                         const GlobalPlanOptions& options) {
  WireWriter out;
  PutVersion(kVersions, &out);
  PutOptions(options, &out);
  out.PutString(SerializeStateSpec(spec));
  return std::move(out).Take();
}

StatusOr<StateSpec> ParseStateMessage(std::string_view data,
                                      const Digest128& announced) {
  DCP_ASSIGN_OR_RETURN(WireReader in, Open(data, kState));
  GetOptions(&in);
  const std::string_view spec = in.String();
  DCP_RETURN_IF_ERROR(in.Finish());
  if (DigestOf(data) != announced) {
    return DataLoss(std::string(kState) + " is not the one of its digest");
  }
  return ParseStateSpec(spec);
}

Digest128 PlanIdOf(std::span<const Digest128> states,
                   std::span<const uint32_t> state_of_rank,
                   const GlobalPlanOptions& options) {
  WireWriter all;
  PutOptions(options, &all);
  all.PutVarint(states.size());
  for (const Digest128& state : states) PutDigest(state, &all);
  PutRuns(state_of_rank, &all);
  return DigestOf(all.data());
}

std::string SerializeJoined(const std::optional<JoinedStates>& joined) {
  WireWriter out;
  PutVersion(kVersions, &out);
  out.PutFlag(joined.has_value());
  if (!joined) return std::move(out).Take();
  PutDigest(joined->id, &out);
  PutOptions(joined->options, &out);
  out.PutVarint(joined->states.size());
  for (const std::string& state : joined->states) out.PutString(state);
  PutRuns(joined->spec_of_rank, &out);
  return std::move(out).Take();
}

StatusOr<std::optional<JoinedStates>> ParseJoined(std::string_view data,
                                                  size_t world_size) {
  DCP_ASSIGN_OR_RETURN(WireReader in, Open(data, kJoined));
  std::optional<JoinedStates> joined;
  if (in.Flag()) {
    joined.emplace();
    joined->id = GetDigest(&in);
    joined->options = GetOptions(&in);
    for (size_t left = in.Count(1); in.ok() && left > 0; --left) {
      joined->states.emplace_back(in.String());
    }
    joined->spec_of_rank = GetRuns(world_size, joined->states.size(), &in);
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return joined;
}

}  // namespace dcp
