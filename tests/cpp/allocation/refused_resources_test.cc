// Every request for memory, a mapping or a thread is refused once, in a load
// and in what looks at checkpoints: see refused_calls.h.

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "allocation/refused_calls.h"
#include "checkpoint/rank_threads.h"
#include "dcp/clean.h"
#include "dcp/latest.h"
#include "dcp/verify.h"
#include "reliability/save_trials.h"

namespace dcp::testing {
namespace {

/// A checkpoint on a disk, and memory to load it to.
struct Loaded {
  explicit Loaded(const SaveKind& kind) {
    place.writer.compression = kind.compression;
    place.reader.io = ModestIo(kind.engine);
    RequireAllSucceed(SaveOnRanks(Sharded(state, 1), NativeStorage(place)));
  }

  /// A call that loads everything, into `wanted` and `result`.
  auto PrepareLoad() {
    wanted = conformance::AllOf(state);
    return [this, reader = NativeStorage(place).make_reader(),
            transport = MakeSingleProcessTransport(),
            request = std::make_unique<WantedRequest>(wanted)] {
      auto loaded = Load(*request, *reader, *transport, {});
      if (loaded.ok()) result = *std::move(loaded);
      return loaded.status();
    };
  }

  bool IsRight() {
    WantedRequest(wanted).TakeObjects(result);
    return AllRight(state, wanted);
  }

  const TempDirectory directory;
  NativePlace place{.fs = MakePosixFileSystem(),
                    .directory = directory.path() + "/step-1"};
  const conformance::State state = LargerStates().old_state;
  std::vector<conformance::Wanted> wanted;
  LoadResult result;
};

TEST_CASE("a load survives that every request is refused", "[R7]") {
  std::vector<SaveKind> kinds = AllSaveKinds();
  kinds.push_back({.compression = Compression::kZstd});
  for (const SaveKind& kind : kinds) {
    if (kind.file_count > 1) continue;
    Loaded loaded(kind);
    DCP_CHECK_OK(loaded.PrepareLoad()());
    for (const Resource resource : RefusableResources()) {
      const Counts counts = RefuseEach(
          resource, 1, [&] { return loaded.PrepareLoad(); },
          [&](bool failed) { return failed || loaded.IsRight(); });
      DCP_CHECK_OK(loaded.PrepareLoad()());
      CHECK(loaded.IsRight());
      ReportCounts("load, " + ToString(kind), resource, counts);
    }
  }
}

TEST_CASE("what looks at checkpoints survives refusals", "[R7]") {
  Loaded loaded({});
  const std::string root = loaded.directory.path();
  const std::string& path = loaded.place.directory;
  const auto always = [](bool) { return true; };
  const auto verify = [&] {
    return [&] { return Verify(path, {}, {}).status(); };
  };
  const auto find_latest = [&] {
    return [&] { return FindLatest(root, {}, {}).status(); };
  };
  const auto clean = [&] {
    return [&] { return CleanCheckpoint(path, {.dry_run = true}).status(); };
  };
  const auto open = [&] {
    return [&]() -> Status {
      DCP_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(path));
      return checkpoint->ReadObject("step").status();
    };
  };
  for (const Resource resource : RefusableResources()) {
    ReportCounts("verify", resource, RefuseEach(resource, 1, verify, always));
    ReportCounts("latest", resource,
                 RefuseEach(resource, 1, find_latest, always));
    ReportCounts("clean", resource, RefuseEach(resource, 1, clean, always));
    ReportCounts("open, and read an object", resource,
                 RefuseEach(resource, 1, open, always));
  }
}

}  // namespace
}  // namespace dcp::testing
