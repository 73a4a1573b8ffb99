#include "checkpoint/planning_messages.h"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "plan/state_cases.h"

namespace dcp {
namespace {

/// Requires that `parse` takes `message` whole, and no part of it.
template <typename Parse>
void RequireWhole(const std::string& message, const Parse& parse) {
  REQUIRE(parse(message).ok());
  for (size_t nbytes = 0; nbytes < message.size(); ++nbytes) {
    INFO(nbytes << " of " << message.size() << " bytes");
    const auto parsed = parse(std::string_view(message).substr(0, nbytes));
    REQUIRE(parsed.status().code() == absl::StatusCode::kDataLoss);
  }
  REQUIRE(parse(message + "x").status().code() == absl::StatusCode::kDataLoss);
  std::string newer = message;
  newer[0] = newer[1] = 9;
  REQUIRE(parse(newer).status().code() ==
          absl::StatusCode::kFailedPrecondition);
}

TEST_CASE("an offer is a digest or a plan, with notes", "[agreement]") {
  const PlanOffer digest{
      .state = AnnouncedState{.digest = {1, 2}, .held = {3, 4}}, .notes = "n"};
  const PlanOffer plan{.state = "a plan", .notes = ""};
  RequireWhole(SerializeOffer(digest), ParseOffer);
  RequireWhole(SerializeOffer(plan), ParseOffer);
  CHECK(SerializeOffer(digest).size() == 37);
  const auto announced =
      std::get<AnnouncedState>(ParseOffer(SerializeOffer(digest))->state);
  CHECK(announced.digest == Digest128{1, 2});
  CHECK(announced.held == Digest128{3, 4});
  CHECK(ParseOffer(SerializeOffer(digest))->notes == "n");
  CHECK(std::get<std::string>(ParseOffer(SerializeOffer(plan))->state) ==
        "a plan");
}

TEST_CASE("a reply says what to do next", "[agreement]") {
  const std::vector<PlanReply> replies = {
      TakeShare{.share = "share", .notes = "notes"},
      TakeDerived{.id = {5, 6}, .notes = "notes"},
      SendState{.is_asked = true},
      SendPlan{},
      SendObjects{},
      TakeBeside{
          .id = {7, 8}, .tensors = {9, 1}, .share = "share", .notes = "notes"}};
  for (const PlanReply& reply : replies) {
    const std::string message = SerializeReply(reply);
    RequireWhole(message, ParseReply);
    CHECK(ParseReply(message)->index() == reply.index());
    CHECK(SerializeReply(*ParseReply(message)) == message);
  }
  const auto derived =
      std::get<TakeDerived>(*ParseReply(SerializeReply(replies[1])));
  CHECK(derived.id == Digest128{5, 6});
  CHECK(derived.notes == "notes");
}

TEST_CASE("objects come with the digest of what is left", "[agreement]") {
  const StateParts parts{.tensors = {1, 2}, .objects = "a plan"};
  const std::string message = SerializeParts(parts);
  RequireWhole(message, ParseParts);
  CHECK(ParseParts(message)->tensors == parts.tensors);
  CHECK(ParseParts(message)->objects == parts.objects);
}

TEST_CASE("a state is the one that was announced", "[agreement]") {
  StateSpec spec{.meshes = {MeshOf({2})}};
  AddLaidOut(&spec, "rows", {{4}, 0, {Placement::Shard(0)}});
  const std::string message = StateMessage(spec, {});
  const auto parsed = ParseStateMessage(message, DigestOf(message));
  REQUIRE(parsed.ok());
  CHECK(*parsed == spec);
  CHECK(ParseStateMessage(message, {1, 2}).status().code() ==
        absl::StatusCode::kDataLoss);
  RequireWhole(message, [](std::string_view data) {
    return ParseStateMessage(data, DigestOf(data));
  });
  CHECK(message != StateMessage(spec, {.dedup_to_lowest_rank = true}));
  CHECK(message != StateMessage(spec, {.split_nbytes = 1}));
}

TEST_CASE("a plan's id is of all states, of who has which, and of options",
          "[agreement]") {
  const std::vector<Digest128> states = {{1, 2}, {3, 4}};
  const auto id_of = [](const std::vector<Digest128>& of,
                        const std::vector<uint32_t>& state_of_rank,
                        const GlobalPlanOptions& options = {}) {
    return PlanIdOf(of, state_of_rank, options);
  };
  const std::set<Digest128> ids = {
      id_of(states, {0, 0, 1}),
      id_of(states, {0, 1, 1}),
      id_of(states, {0, 1, 0}),
      id_of(states, {0, 0, 1, 1}),
      id_of({{1, 2}}, {0, 0, 0}),
      id_of({{1, 2}}, {0, 0}),
      id_of({{1, 2}, {3, 5}}, {0, 0, 1}),
      id_of({{3, 4}, {1, 2}}, {0, 0, 1}),
      id_of(states, {0, 0, 1}, {.dedup_to_lowest_rank = true}),
      id_of(states, {0, 0, 1}, {.split_nbytes = 1})};
  CHECK(ids.size() == 10);
}

TEST_CASE("joined states are those of all ranks", "[agreement]") {
  const JoinedStates joined{
      .id = {1, 2},
      .states = {"one", "other"},
      .spec_of_rank = {0, 0, 1, 0},
      .options = {.dedup_to_lowest_rank = true, .split_nbytes = 3}};
  const std::string message = SerializeJoined(joined);
  RequireWhole(message,
               [](std::string_view data) { return ParseJoined(data, 4); });
  const auto parsed = ParseJoined(message, 4);
  REQUIRE(parsed->has_value());
  CHECK((*parsed)->id == joined.id);
  CHECK((*parsed)->states == joined.states);
  CHECK((*parsed)->spec_of_rank == joined.spec_of_rank);
  CHECK((*parsed)->options.dedup_to_lowest_rank);
  CHECK((*parsed)->options.split_nbytes == 3);
  for (const size_t other : {3U, 5U}) {
    CHECK(ParseJoined(message, other).status().code() ==
          absl::StatusCode::kDataLoss);
  }
  CHECK_FALSE(ParseJoined(SerializeJoined(std::nullopt), 4)->has_value());
}

}  // namespace
}  // namespace dcp
