// Every request for memory, a mapping or a thread is refused once, in a save
// over an existing checkpoint: see refused_calls.h. Nothing is lost, and the
// next save works.

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "allocation/refused_calls.h"
#include "base/guarded.h"
#include "dcp/saver.h"
#include "dcp/staging.h"
#include "reliability/save_trials.h"

namespace dcp::testing {
namespace {

/// One way to save what is not in the directory.
struct SaveCall {
  const char* name;
  Status (*run)(const SaveTrials& trials, StorageWriter& writer,
                Transport& transport);
};

Status SavePlainly(const SaveTrials& trials, StorageWriter& writer,
                   Transport& transport) {
  return trials.TrySaveOther(writer, transport);
}

/// Its memory is not there yet.
Status SaveStaged(const SaveTrials& trials, StorageWriter& writer,
                  Transport& transport) {
  ReleaseStagingMemory();
  const auto entries = trials.OtherEntries();
  return Guarded([&] {
    return Save(StagedState::Begin({entries.begin(), entries.end()}, nullptr,
                                   {}),
                writer, transport, {})
        .status();
  });
}

/// The saver is another process, which has all that it wants.
Status SaveBySaver(const SaveTrials& trials, StorageWriter& writer,
                   Transport& transport) {
  const auto entries = trials.OtherEntries();
  return Guarded([&]() -> Status {
    DCP_ASSIGN_OR_RETURN(const auto saver,
                         Saver::Make({.program = DCP_SAVER_PROGRAM}));
    return Save(StagedState::Begin({entries.begin(), entries.end()}, nullptr,
                                   {.saver = saver}),
                writer, transport, {})
        .status();
  });
}

void CheckSaves(const SaveKind& kind, Resource resource,
                const SaveCall& save = {"save", &SavePlainly}) {
  SaveTrials trials(kind);
  REQUIRE(trials.SaveUndisturbed());  // what is made once per process
  const Counts counts = RefuseEach(
      resource, StepOf(resource, 11),
      [&] {
        return [&, writer = trials.MakeWriter(),
                transport = MakeSingleProcessTransport()] {
          return save.run(trials, *writer, *transport);
        };
      },
      [&](bool failed) {
        const Found found = trials.Look();
        const bool right =
            found == Found::kNew || (failed && found == Found::kOld);
        trials.Keep(found);
        return right && trials.SaveUndisturbed() && trials.Leftovers().empty();
      });
  if (resource == Resource::kMemory) CHECK(counts.failed > 0);
  ReportCounts(std::string(save.name) + ", " + ToString(kind), resource,
               counts);
}

TEST_CASE("a save survives that every request is refused", "[R7]") {
  for (SaveKind kind : AllSaveKinds()) {
    if (kind.file_count > 1) continue;
    for (const Resource resource : RefusableResources()) {
      CheckSaves(kind, resource);
    }
  }
  CheckSaves({.compression = Compression::kZstd}, Resource::kMemory);
}

TEST_CASE("an async save survives that every request is refused", "[R7]") {
  for (const SaveCall& save :
       {SaveCall{"async save", &SaveStaged},
        SaveCall{"async save by a saver", &SaveBySaver}}) {
    for (const Resource resource : RefusableResources()) {
      CheckSaves({}, resource, save);
    }
  }
}

TEST_CASE("saves that run out of memory leak none", "[R7]") {
  SaveTrials trials({});
  REQUIRE(trials.SaveUndisturbed());
  int64_t bad = 0;
  int64_t count = 0;
  bool refused = true;
  for (int64_t n = 1; refused; n += Trials(7, 3), ++count) {
    const int64_t before = LiveAllocations();
    {
      const auto writer = trials.MakeWriter();
      const auto transport = MakeSingleProcessTransport();
      const RefuseOne refusal(Resource::kMemory, n);
      (void)trials.TrySaveOther(*writer, *transport);
      refused = refusal.requests() >= n;
    }
    const int64_t leaked = LiveAllocations() - before;
    INFO("allocation " << n << ": " << leaked << " leaked");
    CHECK(leaked == 0);
    bad += leaked == 0 ? 0 : 1;
    trials.Keep(trials.Look());
    // Leftovers that no memory was there to list would be listed by the next.
    CHECK(trials.SaveUndisturbed());
  }
  Report({.row = "R7",
          .trial = "allocations that are left of a failed save",
          .count = count,
          .bad = bad});
}

}  // namespace
}  // namespace dcp::testing
