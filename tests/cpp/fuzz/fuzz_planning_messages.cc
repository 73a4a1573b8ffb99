// How ranks agree on a plan: offers, answers, states and joined states;
// whatever is accepted can be sent again.

#include <string_view>

#include "checkpoint/planning_messages.h"
#include "fuzz/fuzz_target.h"

namespace dcp {
namespace {

constexpr size_t kRanks = 4;

StateSpec Spec() {
  const TensorProperties properties{.dtype = DType::kBFloat16};
  return {.meshes = {{.sizes = {2, 2}, .ranks = {0, 2, 1, 3}}},
          .layouts = {{.global_size = {64, 32},
                       .mesh = 0,
                       .placements = {Placement::Shard(0),
                                      Placement::Replicate()}}},
          .entries = {
              {"laid out", LaidOutTensor{.properties = properties}},
              {"whole",
               WholeTensor{.properties = properties, .size = {3}, .nbytes = 6}},
              {"step", StateObject{.nbytes = 40}}}};
}

void SendAgain(std::string_view input) {
  if (const auto offer = ParseOffer(input); offer.ok()) {
    const std::string sent = SerializeOffer(*offer);
    const auto again = ParseOffer(sent);
    Require(again.ok() && SerializeOffer(*again) == sent, "offers come back");
  }
  if (const auto reply = ParseReply(input); reply.ok()) {
    const std::string sent = SerializeReply(*reply);
    const auto again = ParseReply(sent);
    Require(again.ok() && SerializeReply(*again) == sent, "answers come back");
  }
  if (const auto joined = ParseJoined(input, kRanks); joined.ok()) {
    const std::string sent = SerializeJoined(*joined);
    const auto again = ParseJoined(sent, kRanks);
    Require(again.ok() && SerializeJoined(*again) == sent,
            "joined states come back");
  }
  const auto state = ParseStateMessage(input, DigestOf(input));
  if (!state.ok()) return;
  const auto again = ParseStateSpec(SerializeStateSpec(*state));
  Require(again.ok() && *again == *state, "states come back");
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const std::string state = StateMessage(Spec(), {.split_nbytes = 1 << 20});
  const Digest128 digest = DigestOf(state);
  return {
      state,
      SerializeOffer({.state = AnnouncedState{.digest = digest, .held = {1, 2}},
                      .notes = "notes"}),
      SerializeOffer({.state = "a plan"}),
      SerializeReply(TakeShare{.share = "share", .notes = "notes"}),
      SerializeReply(TakeDerived{.id = digest, .notes = "notes"}),
      SerializeReply(SendState{.is_asked = true}),
      SerializeReply(SendPlan{}),
      SerializeJoined(std::nullopt),
      SerializeJoined(JoinedStates{.id = digest,
                                   .states = {state, state},
                                   .spec_of_rank = {0, 0, 1, 0}})};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dcp::SendAgain({reinterpret_cast<const char*>(data), size});
  return 0;
}
