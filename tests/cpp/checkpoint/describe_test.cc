#include "dcp/describe.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "checkpoint/describe_testing.h"
#include "checkpoint/hugging_face_place.h"
#include "checkpoint/verify_testing.h"
#include "dcp/convert.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::RandomTensor;
using conformance::State;

CheckpointDescription Described(std::shared_ptr<FileSystem> fs,
                                const std::string& path) {
  auto about = Describe(path, {.io = ModestIo(IoEngineKind::kThreads)},
                        {.file_system = std::move(fs)});
  CAPTURE(path, Message(about.status()));
  REQUIRE(about.ok());
  return *std::move(about);
}

absl::StatusCode CodeOf(std::shared_ptr<FileSystem> fs,
                        const std::string& path) {
  return Describe(path, {}, {.file_system = std::move(fs)}).status().code();
}

const DescribedTensor& Find(const CheckpointDescription& about,
                            const std::string& fqn) {
  const auto found =
      std::find_if(about.tensors.begin(), about.tensors.end(),
                   [&](const DescribedTensor& t) { return t.fqn == fqn; });
  REQUIRE(found != about.tensors.end());
  return *found;
}

State ModelState() {
  State state;
  state.tensors["model.a.weight"] = RandomTensor(1, DType::kFloat32, {4, 3});
  state.tensors["model.b.weight"] = RandomTensor(2, DType::kBFloat16, {5});
  state.tensors["head"] = RandomTensor(3, DType::kFloat32, {100, 2});
  return state;
}

constexpr int64_t kModelNbytes = 48 + 10 + 800;

TEST_CASE("a description tells tensors, objects, files and ranks",
          "[checkpoint][describe]") {
  const auto fs = Saved(MixedState(), {});
  const auto about = Described(fs, "/ckpt");
  CHECK(about.format == CheckpointFormat::kDcp);
  CHECK(about.is_ours);
  CHECK(about.save_id == ReadMetadata(*fs).storage_meta->save_id);
  CHECK_FALSE(about.step.has_value());
  CHECK(about.ranks == 2);
  REQUIRE(about.files.size() == 2);
  CHECK(about.files[1].name == "__1_0.distcp");
  CHECK(about.files[1].nbytes > 1200 * 801 * 2);
  CHECK(about.tensors.size() == 4);
  const DescribedTensor& large = Find(about, "large");
  CHECK(large.dtype == DType::kFloat32);
  CHECK(large.shape == Dims{1200, 801});
  CHECK(large.nbytes == 1200 * 801 * 4);
  CHECK(large.chunks == 2);
  CHECK(large.files == std::vector<size_t>{0, 1});
  CHECK(Find(about, "flag").files == std::vector<size_t>{0});
  REQUIRE(about.objects.size() == 1);
  CHECK(about.objects[0].fqn == "step");
  CHECK(about.objects[0].nbytes > 0);
  CHECK(about.objects[0].files == std::vector<size_t>{0});
}

TEST_CASE("totals are those of the items", "[checkpoint][describe]") {
  const auto fs = Saved(MixedState(), {});
  const auto items = Described(fs, "/ckpt");
  CHECK(items.tensor_count == std::ssize(items.tensors));
  CHECK(items.object_count == std::ssize(items.objects));
  const auto totals =
      Describe("/ckpt", {.depth = DescribeDepth::kTotals}, {.file_system = fs});
  REQUIRE(totals.ok());
  CheckSameTotals(*totals, items);
}

TEST_CASE("totals are by dtype and by module, the largest first",
          "[checkpoint][describe]") {
  const auto about = Described(Saved(ModelState(), {}), "/ckpt");
  CHECK(about.nbytes == kModelNbytes);
  CHECK(about.elements == 12 + 5 + 200);
  REQUIRE(about.by_dtype.size() == 2);
  CHECK(about.by_dtype[0].name == "float32");
  CHECK(about.by_dtype[0].tensors == 2);
  CHECK(about.by_dtype[0].elements == 212);
  CHECK(about.by_dtype[0].nbytes == 848);
  CHECK(about.by_dtype[1].name == "bfloat16");
  REQUIRE(about.by_module.size() == 2);
  CHECK(about.by_module[0].name == "head");
  CHECK(about.by_module[1].name == "model");
  CHECK(about.by_module[1].tensors == 2);
  CHECK(about.by_module[1].nbytes == 58);
}

TEST_CASE("who wrote a checkpoint, and at which step, is told",
          "[checkpoint][describe]") {
  const auto stock = Described(SavedAsStock(ModelState()), "/ckpt");
  CHECK_FALSE(stock.is_ours);
  CHECK(stock.save_id == "not-one-of-dcp");
  NativePlace place{.fs = MakeMemoryFileSystem(), .directory = "/run/step-007"};
  place.writer.io = ModestIo(IoEngineKind::kThreads);
  RequireAllSucceed(
      SaveOnRanks(Sharded(ModelState(), 3), NativeStorage(place)));
  const auto ours = Described(place.fs, "/run/step-007");
  CHECK(ours.step == 7);
  CHECK(ours.ranks == 3);
  // The sidecar keeps what the directory's name no longer says.
  DCP_CHECK_OK(place.fs->MakeDirectories("/moved"));
  const auto entries = place.fs->List("/run/step-007").value();
  for (const DirectoryEntry& entry : entries) {
    PutFile(*place.fs, JoinPath("/moved", entry.name),
            GetFile(*place.fs, JoinPath("/run/step-007", entry.name)));
  }
  CHECK(Described(place.fs, "/moved").step == 7);
}

TEST_CASE("no data is read", "[checkpoint][describe]") {
  const auto fs = Saved(ModelState(), {});
  for (const std::string& path : FilesOf(*fs, "__")) {
    DCP_CHECK_OK(fs->Remove(path));
  }
  CHECK(Described(fs, "/ckpt").nbytes == kModelNbytes);
}

TEST_CASE("safetensors files are described, together or one of them",
          "[checkpoint][describe]") {
  Place place(MakeMemoryFileSystem(), "/m");
  const bool has_index = GENERATE(false, true);
  if (has_index) place.options.max_shard_nbytes = 100;
  RequireAllSucceed(place.Save(Sharded(ModelState(), 2)));
  const auto about = Described(place.fs, "/m");
  CHECK(about.format == CheckpointFormat::kSafetensors);
  CHECK(about.is_ours);
  CHECK(about.save_id.starts_with("dcpcpp-"));
  CHECK_FALSE(about.ranks.has_value());
  CHECK(about.nbytes == kModelNbytes);
  REQUIRE(about.files.size() == (has_index ? 2 : 1));
  const size_t file = Find(about, "head").files.at(0);
  const std::string& name = about.files[file].name;
  const auto one = Described(place.fs, "/m/" + name);
  CHECK(one.format == CheckpointFormat::kSafetensors);
  CHECK(one.files.size() == 1);
  CHECK(one.nbytes == about.files[file].nbytes);
  CHECK(Find(one, "head").shape == Dims{100, 2});
}

TEST_CASE("names of one tensor share its place", "[checkpoint][describe]") {
  Place place(MakeMemoryFileSystem(), "/m");
  const auto tensor = RandomTensor(1, DType::kFloat32, {10});
  std::string file =
      SerializeSafetensorsHeader(
          {{.name = "a", .dtype = SafetensorsDType::kF32, .shape = Dims{10}}},
          {{"b", "a"}})
          .value()
          .bytes +
      tensor.bytes;
  DCP_CHECK_OK(place.fs->MakeDirectories("/m"));
  PutFile(*place.fs, "/m/model.safetensors", file);
  const auto about = Described(place.fs, "/m");
  CHECK(about.tensors.size() == 2);
  CHECK(about.nbytes == 80);
  CHECK(about.files.at(0).nbytes == 40);
  CHECK_FALSE(about.is_ours);
}

TEST_CASE("a torch file is described", "[checkpoint][describe]") {
  State state = ModelState();
  state.objects["rate"] = EncodeObject({0.5}).value();
  const auto fs = Saved(state, {});
  const auto transport = MakeSingleProcessTransport();
  DCP_CHECK_OK(Convert({.source = "/ckpt",
                        .destination = "/m.pt",
                        .io = ModestIo(IoEngineKind::kThreads)},
                       *transport, {}, {.file_system = fs})
                   .status());
  const auto about = Described(fs, "/m.pt");
  CHECK(about.format == CheckpointFormat::kTorch);
  CHECK(about.save_id.empty());
  CHECK(about.nbytes == kModelNbytes);
  CHECK(about.objects.size() == 1);
  CHECK(about.files.at(0).name == "m.pt");
}

TEST_CASE("what is no checkpoint, two or a damaged one is an error",
          "[checkpoint][describe]") {
  const auto fs = Saved(ModelState(), {});
  CHECK(CodeOf(fs, "/nothing") == absl::StatusCode::kNotFound);
  PutFile(*fs, "/m.safetensors", "short");
  CHECK(CodeOf(fs, "/m.safetensors") == absl::StatusCode::kDataLoss);
  PutFile(*fs, "/m.pt", "no archive");
  CHECK_FALSE(Describe("/m.pt", {}, {.file_system = fs}).ok());
  FlipBit(*fs, "/ckpt/.metadata", 100, 2);
  CHECK(CodeOf(fs, "/ckpt") == absl::StatusCode::kDataLoss);
  PutFile(*fs, "/ckpt/model.safetensors", WholeFile(ModelState()));
  CHECK(CodeOf(fs, "/ckpt") == absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace dcp
