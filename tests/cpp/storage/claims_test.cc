// Metadata that promises what its files do not hold.

#include <unistd.h>

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <vector>

#include "base/checksum.h"
#include "format/sidecar.h"
#include "storage/damage.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using conformance::AllOf;
using conformance::State;
using conformance::Wanted;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

State TwoTensors() {
  State state;
  state.objects["step"] = conformance::ObjectOf(7);
  state.tensors["a"] = conformance::RandomTensor(1, DType::kFloat32, {4, 8});
  state.tensors["b"] =
      conformance::RandomTensor(2, DType::kFloat32, {300, 400});
  return state;
}

Status LoadAll(const State& state, std::shared_ptr<FileSystem> fs) {
  std::vector<Wanted> wanted = AllOf(state);
  return LoadState(std::move(fs), {}, wanted);
}

TEST_CASE("an item that claims bytes beyond its file is refused unread",
          "[storage][damage]") {
  const State state = TwoTensors();
  for (const char* fqn : {"a", "b", "step"}) {
    for (const auto& [offset, length] :
         std::vector<std::pair<int64_t, int64_t>>{{0, kMax},
                                                  {kMax, kMax},
                                                  {kMax - 10, 10},
                                                  {0, int64_t{1} << 40},
                                                  {int64_t{1} << 40, 100},
                                                  {5, 1000000000}}) {
      INFO(fqn << " at " << offset << ", " << length << " bytes");
      auto fs = SavedAsStock(state);
      Metadata metadata = ReadMetadata(*fs);
      for (auto& [index, info] : metadata.storage_data) {
        if (index.fqn != fqn) continue;
        info.offset = offset;
        info.length = length;
      }
      PutStockMetadata(*fs, metadata);
      const Status status = LoadAll(state, fs);
      CHECK(status.code() == absl::StatusCode::kDataLoss);
      CHECK_THAT(std::string(Message(status)), Catch::Contains(fqn));
    }
  }
}

TEST_CASE("an item of the wrong place or length is damage",
          "[storage][damage]") {
  const State state = TwoTensors();
  for (const char* fqn : {"a", "b", "step"}) {
    for (int64_t shift : {-64, -1, 1, 64}) {
      for (int64_t growth : {-1000000, -64, -1, 1, 64}) {
        auto fs = SavedAsStock(state);
        Metadata metadata = ReadMetadata(*fs);
        for (auto& [index, info] : metadata.storage_data) {
          if (index.fqn != fqn) continue;
          info.offset = std::max<int64_t>(0, info.offset + shift);
          info.length = std::max<int64_t>(0, info.length + growth);
        }
        INFO(fqn << " shifted by " << shift << ", grown by " << growth);
        PutStockMetadata(*fs, metadata);
        CHECK(LoadAll(state, fs).code() == absl::StatusCode::kDataLoss);
      }
    }
  }
}

TEST_CASE("a tensor of another shape than its item is damage",
          "[storage][damage]") {
  const State state = TwoTensors();
  for (auto compression : {Compression::kNone, Compression::kZstd}) {
    for (const Dims& claimed :
         {Dims{8, 4}, Dims{int64_t{1} << 60}, Dims{int64_t{1} << 31, 1}}) {
      auto fs = Saved(state, {.compression = compression});
      const Metadata metadata = ReadMetadata(*fs);
      Metadata forged;
      forged.storage_meta = metadata.storage_meta;
      for (const auto& [index, info] : metadata.storage_data) {
        const MetadataIndex first{.fqn = "a", .offset = Dims{0, 0}};
        if (!(index == first)) continue;
        forged.Add("a",
                   TensorStorageMetadata{.properties = {.dtype = DType::kUInt8},
                                         .size = claimed,
                                         .chunks = {WholeBox(claimed)}});
        forged.storage_data[{.fqn = "a",
                             .offset = Dims::Filled(claimed.size(), 0)}] = info;
      }
      PutStockMetadata(*fs, forged);
      std::vector<Wanted> wanted = {
          {.fqn = "a",
           .box = {.offsets = Dims::Filled(claimed.size(), 0),
                   .sizes = Dims::Filled(claimed.size(), 1)},
           .dtype = DType::kUInt8}};
      INFO(ToString(claimed) << ", compression " << int(compression));
      CHECK(LoadState(fs, {}, wanted).code() == absl::StatusCode::kDataLoss);
    }
  }
}

TEST_CASE("two keys may share the bytes of one item", "[storage][damage]") {
  State state = TwoTensors();
  // A few blocks long, so that it is read straight into place.
  state.tensors["b"] =
      conformance::RandomTensor(2, DType::kFloat32, {3000, 400});
  for (bool stock : {false, true}) {
    auto fs = stock ? SavedAsStock(state) : Saved(state, {});
    Metadata metadata = ReadMetadata(*fs);
    metadata.Add("tied", *metadata.Find("b"));
    const auto stored = metadata.storage_data;
    for (const auto& [index, info] : stored) {
      if (index.fqn != "b") continue;
      metadata.storage_data[{.fqn = "tied", .offset = index.offset}] = info;
    }
    State wanted_state = state;
    wanted_state.tensors["tied"] = state.tensors["b"];
    const std::string pickle = SerializeMetadata(metadata).value();
    if (stock) {
      PutStockMetadata(*fs, metadata);
    } else {
      const std::string path = FilesOf(*fs, ".dcpcpp-").at(0);
      Sidecar sidecar = ParseSidecar(GetFile(*fs, path)).value();
      sidecar.metadata_nbytes = static_cast<int64_t>(pickle.size());
      sidecar.metadata_crc32 = Crc32(0, std::as_bytes(std::span(pickle)));
      PutFile(*fs, path, SerializeSidecar(sidecar));
      PutFile(*fs, "/ckpt/.metadata", pickle);
    }
    std::vector<Wanted> wanted = AllOf(wanted_state);
    DCP_CHECK_OK(LoadState(fs, {}, wanted));
    CHECK(AllRight(wanted_state, wanted));
  }
}

// The sanitizers end the process where the allocator refuses.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_CASE("an object larger than the memory is an error", "[storage][damage]") {
  const testing::TempDirectory temp;
  constexpr int64_t kNbytes = int64_t{1} << 43;
  const State state = TwoTensors();
  NativePlace place{.fs = MakePosixFileSystem(), .directory = temp.path()};
  place.reader.io = ModestIo(IoEngineKind::kThreads);
  DCP_CHECK_OK(conformance::SaveOnce(NativeStorage(place), state,
                                     conformance::ShardedState(state, 1)));
  const std::string path = JoinPath(temp.path(), ".metadata");
  Metadata metadata =
      ParseMetadata(conformance::MustReadFile(*place.fs, path)).value();
  metadata.storage_meta->save_id = "not-one-of-dcp";
  StorageInfo& step = metadata.storage_data.at({.fqn = "step"});
  step.length = kNbytes - step.offset;
  const std::string data = JoinPath(temp.path(), step.relative_path);
  REQUIRE(truncate(data.c_str(), kNbytes) == 0);  // a hole
  PutFile(*place.fs, path, SerializeMetadata(metadata).value());
  std::vector<Wanted> wanted = {{.fqn = "step"}};
  const Status status =
      conformance::LoadInto(*NativeStorage(place).make_reader(), wanted);
  CHECK(status.code() == absl::StatusCode::kResourceExhausted);
  CHECK_THAT(std::string(Message(status)), Catch::Contains("step"));
}
#endif

TEST_CASE("an object of no bytes is loaded, if it was saved so",
          "[storage][damage]") {
  State state;
  state.objects["empty"] = "";
  std::vector<Wanted> wanted = AllOf(state);
  DCP_CHECK_OK(LoadState(Saved(state, {}), {}, wanted));
  CHECK(wanted[0].committed == 1);
  // In a file of torch's it is no object.
  wanted = AllOf(state);
  CHECK(LoadState(SavedAsStock(state), {}, wanted).code() ==
        absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace dcp
