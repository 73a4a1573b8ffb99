// FileSystemWriter and FileSystemReader together: the conformance suite on
// every kind of file system, with every way of laying files out.

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "conformance/storage_conformance.h"
#include "format/file_names.h"
#include "format/sidecar.h"
#include "storage/damage.h"
#include "testing/direct_file_system.h"
#include "testing/fault_injection_file_system.h"
#include "testing/object_store.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::CheckStorage;
using testing::DirectFileSystem;
using testing::TempDirectory;

NativePlace PlaceOn(std::shared_ptr<FileSystem> fs, IoEngineKind engine) {
  NativePlace place{.fs = std::move(fs)};
  place.writer.io = ModestIo(engine);
  place.reader.io = ModestIo(engine);
  return place;
}

TEST_CASE("the native storage conforms on a disk", "[storage][conformance]") {
  const TempDirectory temp;
  int number = 0;
  for (auto engine : {IoEngineKind::kAuto, IoEngineKind::kThreads}) {
    for (auto direct : {DirectIo::kTry, DirectIo::kOff}) {
      DYNAMIC_SECTION("engine " << int(engine) << ", direct " << int(direct)) {
        CheckStorage([&] {
          NativePlace place = PlaceOn(MakePosixFileSystem(), engine);
          place.directory = temp.path() + "/" + std::to_string(++number);
          place.writer.io.direct_io = direct;
          place.reader.io.direct_io = direct;
          return NativeStorage(place);
        });
      }
    }
  }
}

TEST_CASE("the native storage conforms in memory", "[storage][conformance]") {
  for (auto engine : {IoEngineKind::kAuto, IoEngineKind::kThreads}) {
    DYNAMIC_SECTION("engine " << int(engine)) {
      CheckStorage([&] {
        return NativeStorage(PlaceOn(MakeMemoryFileSystem(), engine));
      });
    }
  }
}

TEST_CASE("the native storage conforms with direct I/O of any alignment",
          "[storage][conformance]") {
  for (int64_t alignment : {4096, 65536}) {
    DYNAMIC_SECTION("aligned to " << alignment) {
      // A cache that forgets has reads go to the engine.
      auto forgetful = std::make_shared<testing::FaultInjectionFileSystem>(
          MakeMemoryFileSystem(),
          testing::FaultScript{.cached_reads =
                                   testing::CachedReads::kRandomlyShort});
      auto fs = std::make_shared<DirectFileSystem>(
          forgetful, DirectIoAlignment{.memory = 4096, .offset = alignment});
      CheckStorage(
          [&] { return NativeStorage(PlaceOn(fs, IoEngineKind::kThreads)); });
      CHECK(fs->unaligned_writes() == 0);
    }
  }
}

TEST_CASE("direct I/O that is refused at any time leaves a whole checkpoint",
          "[storage]") {
  const conformance::State state = conformance::SmallState(1);
  for (int64_t asks = 0; asks < 16; ++asks) {
    INFO("refused after " << asks);
    auto fs = std::make_shared<DirectFileSystem>(MakeMemoryFileSystem());
    fs->RefuseAfter(asks);
    const auto storage = NativeStorage(PlaceOn(fs, IoEngineKind::kThreads));
    DCP_CHECK_OK(conformance::SaveOnce(storage, state, ShardedState(state, 2)));
    conformance::CheckHolds(storage, state);
  }
}

TEST_CASE("the native storage conforms with several files per rank",
          "[storage][conformance]") {
  CheckStorage([] {
    NativePlace place = PlaceOn(MakeMemoryFileSystem(), IoEngineKind::kThreads);
    place.writer.file_count = 3;
    return NativeStorage(place);
  });
}

TEST_CASE("the native storage conforms with a file per item",
          "[storage][conformance]") {
  CheckStorage([] {
    NativePlace place = PlaceOn(MakeMemoryFileSystem(), IoEngineKind::kThreads);
    place.writer.single_file_per_rank = false;
    return NativeStorage(place);
  });
}

TEST_CASE("the native storage conforms with compression",
          "[storage][conformance]") {
  CheckStorage([] {
    NativePlace place = PlaceOn(MakeMemoryFileSystem(), IoEngineKind::kThreads);
    place.writer.compression = Compression::kZstd;
    return NativeStorage(place);
  });
}

TEST_CASE("the native storage conforms without verification and syncs",
          "[storage][conformance]") {
  CheckStorage([] {
    NativePlace place = PlaceOn(MakeMemoryFileSystem(), IoEngineKind::kThreads);
    place.writer.sync_files = false;
    place.reader.verify = false;
    return NativeStorage(place);
  });
}

TEST_CASE("a sidecar knows the step that its directory is named after",
          "[storage]") {
  const conformance::State state = conformance::SmallState(1);
  for (const auto& [directory, step] :
       std::map<std::string, std::optional<int64_t>>{
           {"/run/step-120", 120}, {"/run/step-7/", 7}, {"/run/best", {}}}) {
    NativePlace place = PlaceOn(MakeMemoryFileSystem(), IoEngineKind::kThreads);
    place.directory = directory;
    DCP_CHECK_OK(conformance::SaveOnce(NativeStorage(place), state,
                                       conformance::ShardedState(state, 2)));
    const auto index = NativeStorage(place).make_reader()->ReadIndex().value();
    const std::string path = JoinPath(
        directory, SidecarName(index.metadata.storage_meta->save_id.value()));
    CHECK(ParseSidecar(GetFile(*place.fs, path)).value().step == step);
  }
}

TEST_CASE("the native storage conforms on an object store",
          "[storage][conformance]") {
  for (auto compression : {Compression::kNone, Compression::kZstd}) {
    DYNAMIC_SECTION("compression " << int(compression)) {
      CheckStorage([&] {
        NativePlace place = PlaceOn(std::make_shared<testing::ObjectStore>(),
                                    IoEngineKind::kThreads);
        place.writer.compression = compression;
        return NativeStorage(place);
      });
    }
  }
}

}  // namespace
}  // namespace dcp
