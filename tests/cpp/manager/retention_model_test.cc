// R17: random runs beside a model of what retention keeps.
//
// A run saves, is killed while it saves or removes, goes back to older steps,
// pins some, and applies retention. The model counts for each step by itself
// what is newer than it.

#include <catch2/catch.hpp>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "format/file_names.h"
#include "manager/removal.h"
#include "manager/run_folder.h"
#include "testing/forwarding_file_system.h"
#include "testing/scoreboard.h"

namespace dcp {
namespace {

/// After `budget` changes nothing works any more: the process is gone.
class MortalFileSystem final : public testing::ForwardingFileSystem {
 public:
  MortalFileSystem(std::shared_ptr<FileSystem> base, int64_t budget)
      : ForwardingFileSystem(std::move(base)), budget_(budget) {}

  Status Rename(const std::string& from, const std::string& to) override {
    return Dies() ? Gone() : ForwardingFileSystem::Rename(from, to);
  }
  Status Remove(const std::string& path) override {
    return Dies() ? Gone() : ForwardingFileSystem::Remove(path);
  }
  Status RemoveDirectory(const std::string& path) override {
    return Dies() ? Gone() : ForwardingFileSystem::RemoveDirectory(path);
  }
  Status SyncDirectory(const std::string& path) override {
    return Dies() ? Gone() : ForwardingFileSystem::SyncDirectory(path);
  }

 private:
  bool Dies() { return budget_-- <= 0; }
  static Status Gone() { return Internal("the process was killed"); }

  int64_t budget_;
};

/// What should be in the folder.
struct Model {
  struct Step {
    Held held = Held::kFull;
    bool is_pinned = false;
  };

  std::map<int64_t, Step> steps;
  std::set<int64_t> saving;
  std::vector<int64_t> saved;  // the newest is last
  int64_t keep = 2;

  bool Counts(int64_t number) const {
    return Loads(steps.at(number).held) && !saving.contains(number);
  }
  bool IsFull(int64_t number) const {
    return Counts(number) && steps.at(number).held == Held::kFull;
  }

  bool Keeps(int64_t number) const {
    if (keep == 0 || steps.at(number).is_pinned || saving.contains(number) ||
        std::find(saved.begin(), saved.end(), number) != saved.end()) {
      return true;
    }
    int64_t newer = 0;
    bool has_newer_full = false;
    for (auto it = steps.upper_bound(number); it != steps.end(); ++it) {
      newer += Counts(it->first) ? 1 : 0;
      has_newer_full |= IsFull(it->first);
    }
    const bool may_be_full = IsFull(number) || !Loads(steps.at(number).held);
    return newer < keep || (may_be_full && !has_newer_full);
  }

  void Remove() {
    std::vector<int64_t> gone;
    for (const auto& [number, step] : steps) {
      if (!Keeps(number)) gone.push_back(number);
    }
    for (const int64_t number : gone) steps.erase(number);
  }

  std::optional<int64_t> NewestLoadable() const {
    for (auto it = steps.rbegin(); it != steps.rend(); ++it) {
      if (Counts(it->first)) return it->first;
    }
    return std::nullopt;
  }
};

class RandomRun {
 public:
  explicit RandomRun(uint64_t seed) : random_(seed) {
    const int64_t keeps[] = {0, 2, 2, 3, 5};
    model_.keep = keeps[Pick(5)];
    Restart();
  }

  /// Whether all promises held.
  bool Go(int64_t actions) {
    for (int64_t i = 0; i < actions && is_good_; ++i) Act();
    Retain();
    return is_good_;
  }

  int64_t removed() const { return removed_; }

 private:
  int64_t Pick(int64_t count) {
    return std::uniform_int_distribution<int64_t>(0, count - 1)(random_);
  }

  void Expect(bool holds) { is_good_ = is_good_ && holds; }

  void Restart() {
    manager_ = disk_.Manager({.keep_latest_k = model_.keep});
    model_.saving.clear();
    model_.saved.clear();
  }

  void Act() {
    switch (Pick(10)) {
      case 0:
        return SaveAndDie();
      case 1:
        return Pin();
      case 2:
      case 3:
        return RetainAndDie();
      case 4:
      case 5:
        return Retain();
      case 6:
        return EndSaves();
      default:
        return Save();
    }
  }

  /// Mostly a new one; else one of the past, which may be there.
  int64_t PickStep() {
    const int64_t newest =
        model_.steps.empty() ? 0 : model_.steps.rbegin()->first;
    return Pick(6) == 0 ? Pick(newest + 1) : newest + 1 + Pick(2);
  }

  void Put(int64_t step, Held held) {
    disk_.Put(step, held);
    model_.steps[step].held = held;
  }

  void Begin(int64_t step) {
    RequireOk(manager_->BeginSave(step));
    model_.saving.insert(step);
    // A checkpoint that is there stays whole until the new one is.
    if (model_.steps.contains(step) && Loads(model_.steps[step].held)) return;
    Put(step, Pick(4) == 0 ? Held::kHalfHf : Held::kHalfNative);
  }

  void End(int64_t step) {
    constexpr Held kEnds[] = {Held::kFull, Held::kFull, Held::kModel,
                              Held::kHfFile};
    Put(step, kEnds[Pick(4)]);
    manager_->EndSave(step, absl::OkStatus());
    model_.saving.erase(step);
    std::erase(model_.saved, step);
    model_.saved.push_back(step);
    if (std::ssize(model_.saved) > model_.keep) {
      model_.saved.erase(model_.saved.begin());
    }
  }

  void Save() {
    const int64_t step = PickStep();
    if (model_.saving.contains(step)) return;
    Begin(step);
    if (Pick(4) != 0) End(step);
  }

  void EndSaves() {
    while (!model_.saving.empty()) End(*model_.saving.begin());
  }

  void SaveAndDie() {
    const int64_t step = PickStep();
    if (!model_.saving.contains(step)) Begin(step);
    Restart();
  }

  void Pin() {
    if (model_.steps.empty()) return;
    const auto step = std::next(
        model_.steps.begin(), Pick(static_cast<int64_t>(model_.steps.size())));
    step->second.is_pinned = Pick(3) != 0;
    RequireOk(step->second.is_pinned ? manager_->Pin(step->first)
                                     : manager_->Unpin(step->first));
  }

  void Retain() {
    const size_t before = model_.steps.size();
    const auto newest = model_.NewestLoadable();
    const auto report = manager_->ApplyRetention();
    Expect(report.ok() && report->not_removed.empty());
    model_.Remove();
    removed_ += static_cast<int64_t>(before - model_.steps.size());
    Expect(model_.NewestLoadable() == newest);
    std::set<std::string> expected;
    for (const auto& [number, step] : model_.steps) {
      expected.insert("step-" + std::to_string(number));
    }
    const auto names = disk_.Names();
    Expect(std::set<std::string>(names.begin(), names.end()) == expected);
    ExpectWhole();
  }

  /// By a process that ends after a few changes.
  void RetainAndDie() {
    Restart();
    const auto mortal =
        std::make_shared<MortalFileSystem>(disk_.fs(), Pick(12));
    RunOnDisk::Manager({.keep_latest_k = model_.keep}, mortal)
        ->ApplyRetention()
        .IgnoreError();
    std::map<int64_t, Model::Step> left;
    for (const std::string& name : disk_.Names()) {
      const auto number = ParseStepDirectoryName(name);
      Expect(number ? model_.steps.contains(*number) : IsRemovalName(name));
      if (number && is_good_) left[*number] = model_.steps.at(*number);
    }
    for (const auto& [number, step] : model_.steps) {
      Expect(left.contains(number) || !model_.Keeps(number));
    }
    removed_ += static_cast<int64_t>(model_.steps.size() - left.size());
    model_.steps = std::move(left);
    ExpectWhole();
  }

  /// Every step has all of its files.
  void ExpectWhole() {
    for (const auto& [number, step] : model_.steps) {
      if (!is_good_) return;
      std::vector<std::string> expected;
      for (const auto& [name, content] : FilesOf(step.held)) {
        expected.push_back(name);
      }
      if (step.is_pinned) expected.emplace_back(kPinFileName);
      std::sort(expected.begin(), expected.end());
      Expect(disk_.NamesIn(RunOnDisk::PathOf(number)) == expected);
    }
  }

  std::mt19937_64 random_;
  RunOnDisk disk_;
  std::unique_ptr<CheckpointManager> manager_;
  Model model_;
  bool is_good_ = true;
  int64_t removed_ = 0;
};

TEST_CASE("random runs keep what they should, and never lose the last one",
          "[manager][R17]") {
  const int64_t count = testing::Trials(10'000, 100'000);
  int64_t bad = 0;
  int64_t removed = 0;
  for (int64_t seed = 1; seed <= count; ++seed) {
    RandomRun run(static_cast<uint64_t>(seed));
    const bool good = run.Go(30);
    if (!good) {
      UNSCOPED_INFO("seed " << seed);
      ++bad;
    }
    removed += run.removed();
  }
  CHECK(bad == 0);
  CHECK(removed > count);
  testing::Report({.row = "R17",
                   .trial = "random runs with retention, kills and pins",
                   .count = count,
                   .bad = bad,
                   .seed = 1,
                   .note = std::to_string(removed) + " steps were removed"});
}

}  // namespace
}  // namespace dcp
