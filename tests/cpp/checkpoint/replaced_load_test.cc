// Loads while another process replaces the checkpoint: the old one or the new
// one, whole, on all ranks, or the same error on all.

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "storage/damage.h"
#include "testing/fault_injection_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::AllOf;
using conformance::State;
using conformance::Wanted;
using testing::FaultInjectionFileSystem;
using testing::FsOp;

/// Tensors of equal shapes, so that only the bytes tell states apart.
State StateOf(uint64_t seed) {
  State state;
  state.objects["step"] = conformance::ObjectOf(static_cast<int64_t>(seed));
  for (int i = 0; i < 3; ++i) {
    state.tensors["w" + std::to_string(i)] = conformance::RandomTensor(
        seed * 10 + static_cast<uint64_t>(i), DType::kInt32, {64, 50});
  }
  return state;
}

using When = std::function<bool(int64_t n, FsOp op, const std::string& path)>;

When AtOpenOf(const std::string& ending) {
  return [ending](int64_t, FsOp op, const std::string& path) {
    return op == FsOp::kOpen && path.ends_with(ending);
  };
}

/// A checkpoint in memory of state 1, replaced by states 2, 3, ... whenever a
/// call of a load fits.
class Replaced {
 public:
  enum class Way : uint8_t { kSave, kRemoveAndSave };

  Replaced(When when, int times, Way way = Way::kSave,
           size_t min_indexed_items = kMinIndexedItems)
      : when_(std::move(when)),
        way_(way),
        times_(times),
        min_indexed_items_(min_indexed_items) {
    Put(StateOf(1));
    Restart({});
  }

  /// The next calls fail like this.
  void Restart(std::vector<testing::Fault> faults) {
    fs_->Restart(
        {.faults = std::move(faults),
         .on_call = [this](int64_t n, FsOp op, const std::string& path) {
           OnCall(n, op, path);
         }});
  }

  /// What the last replacement saves, if not a state of the same keys.
  void SetLast(State state) { last_ = std::move(state); }

  conformance::StorageUnderTest storage() {
    NativePlace place{.fs = fs_, .min_indexed_items = min_indexed_items_};
    place.writer.io = place.reader.io = ModestIo(IoEngineKind::kThreads);
    return NativeStorage(place);
  }
  FaultInjectionFileSystem& fs() { return *fs_; }
  int replacements() const { return done_; }

 private:
  void Put(const State& state) {
    DCP_CHECK_OK(conformance::SaveOnce(storage(), state,
                                       conformance::ShardedState(state, 2)));
  }

  void OnCall(int64_t n, FsOp op, const std::string& path) {
    if (done_ >= times_ || !when_(n, op, path) || busy_.exchange(true)) return;
    const int number = ++done_;
    if (way_ == Way::kRemoveAndSave) {
      for (const std::string& file : FilesOf(*fs_, "")) {
        DCP_CHECK_OK(fs_->Remove(file));
      }
    }
    Put(number == times_ && last_ ? *last_
                                  : StateOf(static_cast<uint64_t>(number) + 1));
    busy_ = false;
  }

  const std::shared_ptr<FaultInjectionFileSystem> fs_ =
      std::make_shared<FaultInjectionFileSystem>(MakeMemoryFileSystem());
  const When when_;
  const Way way_;
  const int times_;
  const size_t min_indexed_items_;
  std::optional<State> last_;
  std::atomic<int> done_{0};
  std::atomic<bool> busy_{false};
};

std::vector<std::vector<Wanted>> WantedOfAll(int world_size) {
  return {static_cast<size_t>(world_size), AllOf(StateOf(1))};
}

/// Which state all ranks hold; 0 for a mix or anything else.
uint64_t StateThatAllHold(const std::vector<std::vector<Wanted>>& wanted) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    const State state = StateOf(seed);
    if (std::all_of(wanted.begin(), wanted.end(), [&](const auto& of_rank) {
          return AllRight(state, of_rank);
        })) {
      return seed;
    }
  }
  return 0;
}

TEST_CASE("a load of a checkpoint that is replaced meanwhile gets the new one",
          "[checkpoint][replaced]") {
  const int world_size = GENERATE(1, 2, 3);
  // Its files are gone when they are opened.
  const std::string ending = GENERATE(".distcp", "");
  const bool sidecar = ending.empty();
  Replaced replaced(
      sidecar ? When([](int64_t, FsOp op, const std::string& path) {
        return op == FsOp::kOpen && path.find("/.dcpcpp-") != path.npos;
      })
              : AtOpenOf(ending),
      1);
  auto wanted = WantedOfAll(world_size);
  RequireAllSucceed(LoadOnRanks(wanted, replaced.storage()));
  CHECK(replaced.replacements() == 1);
  CHECK(StateThatAllHold(wanted) == 2);
}

TEST_CASE("files that are open are read to the end, whoever replaces them",
          "[checkpoint][replaced]") {
  Replaced replaced(
      [](int64_t, FsOp op, const std::string& path) {
        return (op == FsOp::kRead || op == FsOp::kReadCached) &&
               path.ends_with(".distcp");
      },
      1);
  auto wanted = WantedOfAll(2);
  RequireAllSucceed(LoadOnRanks(wanted, replaced.storage()));
  CHECK(replaced.replacements() == 1);
  CHECK(StateThatAllHold(wanted) == 1);
}

TEST_CASE("a replacement before any one call leaves the old or the new state",
          "[checkpoint][replaced]") {
  const int world_size = GENERATE(1, 2);
  const auto way =
      GENERATE(Replaced::Way::kSave, Replaced::Way::kRemoveAndSave);
  const size_t min_indexed_items = GENERATE(size_t{1}, kMinIndexedItems);
  int old_states = 0;
  int new_states = 0;
  for (int64_t n = 1;; ++n) {
    INFO("before call " << n << ", " << world_size << " ranks, indexed from "
                        << min_indexed_items);
    Replaced replaced(
        [n](int64_t number, FsOp, const std::string&) { return number >= n; },
        1, way, min_indexed_items);
    auto wanted = WantedOfAll(world_size);
    const auto results = LoadOnRanks(wanted, replaced.storage());
    if (replaced.replacements() == 0) break;
    if (way == Replaced::Way::kRemoveAndSave && !results[0].ok()) {
      // For a while there was no checkpoint; all ranks say the same.
      RequireSameFailures(results);
      continue;
    }
    RequireAllSucceed(results);
    const uint64_t state = StateThatAllHold(wanted);
    CHECK((state == 1 || state == 2));
    ++(state == 1 ? old_states : new_states);
  }
  CHECK(new_states > 0);
  CHECK(old_states + new_states > 10);
}

TEST_CASE("files of the same names with other bytes are told from the old ones",
          "[checkpoint][replaced]") {
  const int world_size = GENERATE(1, 2);
  Replaced replaced(AtOpenOf(".distcp"), 1, Replaced::Way::kRemoveAndSave);
  auto wanted = WantedOfAll(world_size);
  RequireAllSucceed(LoadOnRanks(wanted, replaced.storage()));
  CHECK(StateThatAllHold(wanted) == 2);
}

TEST_CASE("files that another machine removed while they were open are gone",
          "[checkpoint][replaced]") {
  const int world_size = GENERATE(1, 2);
  Replaced replaced([](int64_t, FsOp op,
                       const std::string&) { return op == FsOp::kReadCached; },
                    1);
  replaced.Restart({{.op = FsOp::kReadCached, .error_number = ESTALE}});
  auto wanted = WantedOfAll(world_size);
  RequireAllSucceed(LoadOnRanks(wanted, replaced.storage()));
  CHECK(StateThatAllHold(wanted) == 2);
}

TEST_CASE("a load starts again once only", "[checkpoint][replaced]") {
  const int world_size = GENERATE(1, 2);
  Replaced replaced(AtOpenOf(".distcp"), 100);
  auto wanted = WantedOfAll(world_size);
  const auto results = LoadOnRanks(wanted, replaced.storage());
  const RankFailures failures = RequireSameFailures(results);
  CHECK(failures.by_rank.begin()->second.code() == absl::StatusCode::kNotFound);
  CHECK(replaced.replacements() >= 2);
  CHECK(replaced.replacements() <= 2 * world_size);
}

int64_t OpensOf(const FaultInjectionFileSystem& fs, const std::string& path) {
  const auto log = fs.log();
  return std::count(log.begin(), log.end(),
                    testing::FsCall{.op = FsOp::kOpen, .path = path});
}

TEST_CASE("damage of a checkpoint that nobody replaced is reported as it is",
          "[checkpoint][replaced]") {
  const bool missing = GENERATE(false, true);
  Replaced replaced([](auto&&...) { return false; }, 0);
  const std::string file = FilesOf(replaced.fs(), "__").at(0);
  if (missing) {
    DCP_CHECK_OK(replaced.fs().Remove(file));
  } else {
    FlipBit(replaced.fs(), file, 1000, 3);
  }
  replaced.fs().Restart({});
  auto wanted = WantedOfAll(2);
  const auto results = LoadOnRanks(wanted, replaced.storage());
  const RankFailures failures = RequireSameFailures(results);
  CHECK(failures.phase == (missing ? "plan" : "read"));
  CHECK_THAT(std::string(Message(results[0].status())), Contains(file));
  CHECK(OpensOf(replaced.fs(), "/ckpt/.metadata") == 2);
}

TEST_CASE("an error of the caller's does not start the load again",
          "[checkpoint][replaced]") {
  Replaced replaced([](auto&&...) { return false; }, 0);
  auto wanted = WantedOfAll(2);
  wanted[1].push_back({.fqn = "absent"});
  replaced.fs().Restart({});
  RequireSameFailures(LoadOnRanks(wanted, replaced.storage()));
  CHECK(OpensOf(replaced.fs(), "/ckpt/.metadata") == 1);
}

TEST_CASE("a key that was read and is not in the new checkpoint is no success",
          "[checkpoint][replaced]") {
  // Files of the same size, so that only reading them tells the difference.
  State other = StateOf(2);
  other.tensors["v1"] = other.tensors.at("w1");
  other.tensors.erase("w1");
  const auto way =
      GENERATE(Replaced::Way::kSave, Replaced::Way::kRemoveAndSave);
  Replaced replaced(AtOpenOf(".distcp"), 1, way);
  replaced.SetLast(other);
  auto wanted = WantedOfAll(1);
  const auto results =
      LoadOnRanks(wanted, replaced.storage(), {.allow_partial_load = true});
  if (way == Replaced::Way::kSave) {
    // The files were gone before anything was read of them.
    RequireAllSucceed(results);
    CHECK(results[0]->missing == std::vector<std::string>{"w1"});
    CHECK(std::all_of(wanted[0].begin(), wanted[0].end(), [](const auto& want) {
      return want.fqn != "w1" ||
             want.bytes == std::string(want.bytes.size(), '?');
    }));
  } else {
    RequireSameFailures(results);
    CHECK_THAT(std::string(Message(results[0].status())),
               Contains("w1 is not in the new one"));
  }
}

}  // namespace
}  // namespace dcp
