// The oracle of the tests that break off saves: which of two states is in a
// checkpoint?

#ifndef DCP_TESTS_CHECKPOINT_OLD_OR_NEW_H_
#define DCP_TESTS_CHECKPOINT_OLD_OR_NEW_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"

namespace dcp {

enum class Found : uint8_t { kNone, kOld, kNew, kDamaged };

/// What a directory holds, and what a save is to replace it with.
struct OldAndNew {
  conformance::State old_state;
  conformance::State new_state;

  /// `found` is kOld or kNew.
  const conformance::State& Of(Found found) const {
    return found == Found::kOld ? old_state : new_state;
  }
};

/// 10 KB. The new one has fewer keys, so that a mix would show.
inline OldAndNew SmallStates() {
  OldAndNew states{conformance::SmallState(1), conformance::SmallState(2)};
  states.new_state.tensors.erase("bias");
  states.new_state.tensors["scale"] =
      conformance::RandomTensor(5, DType::kFloat16, {7});
  return states;
}

/// The same, and tensors of 1.2 MB in all, for several blocks of a device.
inline OldAndNew LargerStates() {
  OldAndNew states = SmallStates();
  uint64_t seed = 10;
  for (auto* state : {&states.old_state, &states.new_state}) {
    for (const char* fqn : {"a", "b", "c"}) {
      state->tensors[fqn] =
          conformance::RandomTensor(seed++, DType::kFloat32, {100, 1000});
    }
  }
  return states;
}

/// Whether `metadata` and all that it names are `state`.
inline bool Holds(const conformance::StorageUnderTest& storage,
                  const conformance::State& state, const Metadata& metadata) {
  if (metadata.entries().size() !=
      state.tensors.size() + state.objects.size()) {
    return false;
  }
  std::vector<conformance::Wanted> wanted = conformance::AllOf(state);
  return conformance::LoadInto(*storage.make_reader(), wanted).ok() &&
         AllRight(state, wanted);
}

/// What the readers of `storage` find.
inline Found WhatIsIn(const conformance::StorageUnderTest& storage,
                      const OldAndNew& states) {
  const auto index = storage.make_reader()->ReadIndex();
  if (index.status().code() == absl::StatusCode::kNotFound) return Found::kNone;
  if (!index.ok()) return Found::kDamaged;
  if (Holds(storage, states.old_state, index->metadata)) return Found::kOld;
  return Holds(storage, states.new_state, index->metadata) ? Found::kNew
                                                           : Found::kDamaged;
}

/// The same in `place`, by its index, too, if it has one.
inline Found WhatIsIn(NativePlace place, const OldAndNew& states) {
  place.reader.io = ModestIo(IoEngineKind::kThreads);
  const auto storage = NativeStorage(place);
  const Found found = WhatIsIn(storage, states);
  const bool is_one = found == Found::kOld || found == Found::kNew;
  if (!is_one || place.min_indexed_items == kMinIndexedItems) return found;
  // Loads go by the index.
  const conformance::State& state = states.Of(found);
  std::vector<std::vector<conformance::Wanted>> of_ranks = {
      conformance::AllOf(state)};
  const bool is_right =
      LoadOnRanks(of_ranks, storage)[0].ok() && AllRight(state, of_ranks[0]);
  return is_right ? found : Found::kDamaged;
}

/// Whether a failed save says that it cannot know if the new checkpoint is
/// there.
inline bool IsInDoubt(const Status& status) {
  return Message(status).find("the old or the new one") !=
         std::string_view::npos;
}

}  // namespace dcp

#endif  // DCP_TESTS_CHECKPOINT_OLD_OR_NEW_H_
