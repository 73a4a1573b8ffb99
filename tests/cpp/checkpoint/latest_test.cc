// FindLatest: which of the steps of a run is the one to go on from.

#include "dcp/latest.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/verify_testing.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;

State WeightsOf(int64_t rows) {
  State state;
  state.tensors["w"] =
      conformance::RandomTensor(5, DType::kFloat32, {rows, 10});
  return state;
}

/// Steps of a run in /run, in memory.
class Run {
 public:
  const std::shared_ptr<FileSystem>& fs() const { return fs_; }

  void Save(const std::string& name, bool stock = false) {
    State state = WeightsOf(100);
    state.objects["step"] = conformance::ObjectOf(1);
    NativePlace place{.fs = fs_, .directory = "/run/" + name};
    place.writer.io = ModestIo(IoEngineKind::kThreads);
    DCP_CHECK_OK(conformance::SaveOnce(NativeStorage(place), state,
                                       conformance::WholeState(state)));
    if (!stock) return;
    const std::string path = "/run/" + name + "/.metadata";
    Metadata metadata = ParseMetadata(GetFile(*fs_, path)).value();
    metadata.storage_meta->save_id = "not-one-of-dcp";
    PutFile(*fs_, path, SerializeMetadata(metadata).value());
    DCP_CHECK_OK(fs_->Remove(Sidecar(name)));
  }

  std::string Sidecar(const std::string& name) const {
    const auto entries = fs_->List("/run/" + name).value();
    for (const DirectoryEntry& entry : entries) {
      if (entry.name.starts_with(".dcpcpp-")) {
        return "/run/" + name + "/" + entry.name;
      }
    }
    return "";
  }

  LatestStep Find(StepCheck check = StepCheck::kCommitted) const {
    return FindLatest("/run",
                      {.check = check, .io = ModestIo(IoEngineKind::kThreads)},
                      {.file_system = fs_})
        .value();
  }

  std::string Found(StepCheck check = StepCheck::kCommitted) const {
    const LatestStep latest = Find(check);
    return latest.found ? latest.found->path : "none";
  }

 private:
  const std::shared_ptr<FileSystem> fs_ = MakeMemoryFileSystem();
};

TEST_CASE("the newest step is the one of the largest number",
          "[checkpoint][latest]") {
  Run run;
  CHECK(run.Found() == "none");
  DCP_CHECK_OK(run.fs()->MakeDirectories("/run"));
  CHECK(run.Found() == "none");
  for (const char* name : {"step-9", "step-10", "step-2"}) run.Save(name);
  CHECK(run.Found() == "/run/step-10");
  run.Save("step-00011");
  CHECK(run.Found() == "/run/step-00011");
  CHECK(run.Find().found->step == 11);
}

TEST_CASE("only directories named step-<number> are steps",
          "[checkpoint][latest]") {
  Run run;
  run.Save("step-1");
  for (const char* name :
       {"step--5", "step-", "step-7x", "step-+8", "Step-9", "step-9 ",
        "step-99999999999999999999", "tensorboard", "step-0x10"}) {
    run.Save(name);
  }
  PutFile(*run.fs(), "/run/step-50", "a file");
  const LatestStep latest = run.Find();
  CHECK(latest.found == StepDirectory{.step = 1, .path = "/run/step-1"});
  CHECK(latest.skipped.empty());
}

TEST_CASE("steps that were not committed are skipped, and it is told why",
          "[checkpoint][latest]") {
  Run run;
  for (const char* name :
       {"step-1", "step-2", "step-3", "step-4", "step-5", "step-6"}) {
    run.Save(name);
  }
  FileSystem& fs = *run.fs();
  DCP_CHECK_OK(fs.Remove("/run/step-6/.metadata"));
  PutFile(fs, "/run/step-5/.metadata", "junk");
  DCP_CHECK_OK(fs.Remove(run.Sidecar("step-4")));
  FlipBit(fs, run.Sidecar("step-3"), 30, 1);
  PutFile(fs, "/run/step-2/.metadata", GetFile(fs, "/run/step-1/.metadata"));
  const LatestStep latest = run.Find();
  REQUIRE(latest.found.has_value());
  CHECK(latest.found->step == 1);
  REQUIRE(latest.skipped.size() == 5);
  for (size_t i = 0; i < 5; ++i) {
    const SkippedStep& skipped = latest.skipped[i];
    CHECK(skipped.directory.step == static_cast<int64_t>(6 - i));
    CHECK_THAT(skipped.reason, Contains(skipped.directory.path));
  }
}

TEST_CASE("damaged data is skipped only if it is looked for",
          "[checkpoint][latest]") {
  const bool stock = GENERATE(false, true);
  Run run;
  run.Save("step-1", stock);
  run.Save("step-2", stock);
  run.Save("step-3", stock);
  FlipBit(*run.fs(), "/run/step-3/__0_0.distcp", 2000, 3);
  DCP_CHECK_OK(run.fs()->Remove("/run/step-2/__0_0.distcp"));
  CHECK(run.Found() == "/run/step-3");
  const LatestStep latest = run.Find(StepCheck::kVerified);
  REQUIRE(latest.found.has_value());
  CHECK(latest.found->path == "/run/step-1");
  REQUIRE(latest.skipped.size() == 2);
  CHECK_THAT(latest.skipped[0].reason, Contains("CRC-32"));
  CHECK_THAT(latest.skipped[1].reason, Contains("missing"));
}

TEST_CASE("steps in safetensors count once they are published",
          "[checkpoint][latest]") {
  Run run;
  run.Save("step-1");
  FileSystem& fs = *run.fs();
  const std::string header =
      R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  const std::string file = std::string(1, static_cast<char>(header.size())) +
                           std::string(7, '\0') + header + std::string(4, '\0');
  DCP_CHECK_OK(fs.MakeDirectories("/run/step-2"));
  PutFile(fs, "/run/step-2/model-00001-of-00001.safetensors", file);
  CHECK(run.Found() == "/run/step-1");
  CHECK_THAT(run.Find().skipped.at(0).reason,
             Contains("neither model.safetensors.index.json nor"));
  PutFile(fs, "/run/step-2/model.safetensors.index.json",
          R"({"weight_map":{"w":"model-00001-of-00001.safetensors"}})");
  CHECK(run.Found() == "/run/step-2");
  DCP_CHECK_OK(fs.MakeDirectories("/run/step-3"));
  PutFile(fs, "/run/step-3/model.safetensors", file);
  CHECK(run.Found() == "/run/step-3");
  CHECK(run.Found(StepCheck::kVerified) == "/run/step-1");
}

TEST_CASE("safetensors that dcp wrote count as verified by their checksums",
          "[checkpoint][latest][hugging_face]") {
  Run run;
  for (const char* name : {"/run/step-1", "/run/step-2"}) {
    Place place(run.fs(), name);
    RequireAllSucceed(place.Save(Sharded(WeightsOf(50'000), 2)));
  }
  CHECK(run.Found(StepCheck::kVerified) == "/run/step-2");
  FlipBit(*run.fs(), "/run/step-2/model.safetensors", 1'500'000, 3);
  CHECK(run.Found() == "/run/step-2");
  CHECK(run.Found(StepCheck::kVerified) == "/run/step-1");
}

TEST_CASE("stock checkpoints count without a sidecar", "[checkpoint][latest]") {
  Run run;
  run.Save("step-1");
  run.Save("step-2", true);
  CHECK(run.Found() == "/run/step-2");
  CHECK(run.Found(StepCheck::kVerified) == "/run/step-2");
}

}  // namespace
}  // namespace dcp
