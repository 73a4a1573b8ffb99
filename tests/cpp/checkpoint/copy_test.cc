#include "dcp/copy.h"

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/copy_testing.h"
#include "checkpoint/old_or_new.h"
#include "checkpoint/verify_testing.h"
#include "dcp/clean.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;
using testing::FaultInjectionFileSystem;
using testing::RebootPolicy;

TEST_CASE("a copy has the files of the checkpoint, byte for byte",
          "[checkpoint][copy]") {
  const bool is_ours = GENERATE(true, false);
  const auto fs =
      is_ours ? Saved(MixedState(), {}) : SavedAsStock(MixedState());
  PutFile(*fs, "/ckpt/config.json", "{}");
  const Files expected = FilesIn(*fs, "/ckpt");
  PutFile(*fs, "/ckpt/.dcpcpp.pin", "");
  PutFile(*fs, "/ckpt/__9_9.distcp", "left by a save that was killed");
  DCP_CHECK_OK(fs->MakeDirectories("/ckpt/logs"));
  int64_t last = 0;
  int64_t total = 0;
  const auto copied =
      Copy(fs, {.progress = [&](const CopyProgress& now) -> Status {
             CHECK(now.nbytes_done >= last);
             last = now.nbytes_done;
             total = now.nbytes_total;
             return absl::OkStatus();
           }});
  DCP_CHECK_OK(copied.status());
  CHECK(FilesIn(*fs, "/copy") == expected);
  CHECK(copied->format == CheckpointFormat::kDcp);
  CHECK(copied->files == static_cast<int64_t>(expected.size()));
  CHECK(last == total);
  CHECK(copied->nbytes == total);
  const auto report = VerifyStored(fs, "/copy");
  DCP_CHECK_OK(report.status());
  CHECK(report->damages.empty());
}

TEST_CASE("safetensors are copied, with what lies beside them",
          "[checkpoint][copy]") {
  const bool has_index = GENERATE(true, false);
  const auto fs = GENERATE(true, false) ? SafetensorsIn("/ckpt", has_index)
                                        : SafetensorsOfOthers(has_index);
  const auto copied = Copy(fs);
  DCP_CHECK_OK(copied.status());
  CHECK(FilesIn(*fs, "/copy") == FilesIn(*fs, "/ckpt"));
  CHECK(copied->format == CheckpointFormat::kSafetensors);
  CHECK(copied->left_alone.empty());
  CHECK(copied->not_copied.empty());
}

TEST_CASE("a copy replaces neither a checkpoint nor what is beside it",
          "[checkpoint][copy]") {
  const auto fs = Saved(MixedState(), {});
  PutFile(*fs, "/ckpt/notes", "theirs");
  DCP_CHECK_OK(fs->MakeDirectories("/copy"));
  PutFile(*fs, "/copy/notes", "mine");
  const auto copied = Copy(fs);
  DCP_CHECK_OK(copied.status());
  CHECK(copied->left_alone == std::vector<std::string>{"notes"});
  CHECK(GetFile(*fs, "/copy/notes") == "mine");
  const Files before = FilesIn(*fs, "/copy");
  const Status again = Copy(fs).status();
  CHECK(again.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(again)), Contains("remove it first"));
  CHECK(FilesIn(*fs, "/copy") == before);
}

TEST_CASE("what is no checkpoint, or is one already, is not copied",
          "[checkpoint][copy]") {
  const auto fs = Saved(MixedState(), {});
  const auto code = [&](const std::string& from) {
    return Copy(fs, {}, from).status().code();
  };
  CHECK(code("/nothing") == absl::StatusCode::kNotFound);
  CHECK(code("/ckpt/__0_0.distcp") == absl::StatusCode::kInvalidArgument);
  CHECK(code("/copy") == absl::StatusCode::kInvalidArgument);
  CHECK_FALSE(fs->Exists("/copy").value());
}

TEST_CASE("damage is noticed, and no file is left of the copy",
          "[checkpoint][copy]") {
  const bool is_ours = GENERATE(true, false);
  const auto fs =
      is_ours ? Saved(MixedState(), {}) : SavedAsStock(MixedState());
  const std::string file = FilesOf(*fs, "__1_").at(0);
  FlipBit(*fs, file, GetFile(*fs, file).size() / 2, 3);
  const Status failed = Copy(fs).status();
  CHECK(failed.code() == absl::StatusCode::kDataLoss);
  CHECK(GetErrorDetail(failed).value().path == file);
  CHECK(FilesIn(*fs, "/copy").empty());
}

TEST_CASE("a source that is replaced meanwhile is noticed",
          "[checkpoint][copy]") {
  const auto [before, after] = SmallStates();
  const auto fs = Saved(before, {});
  bool is_first = true;
  const Status failed =
      Copy(fs, {.progress = [&](const CopyProgress&) -> Status {
             if (std::exchange(is_first, false)) Overwrite(fs, after);
             return absl::OkStatus();
           }})
          .status();
  CHECK(failed.code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(failed)), Contains("copy it again"));
  CHECK(FilesIn(*fs, "/copy").empty());
  DCP_CHECK_OK(Copy(fs).status());
  CHECK(FilesIn(*fs, "/copy") == FilesIn(*fs, "/ckpt"));
}

TEST_CASE("metadata that names files elsewhere copies nothing",
          "[checkpoint][copy]") {
  const auto fs = SavedAsStock(conformance::SmallState(1));
  const std::string name = GENERATE(as<std::string>(), "../ckpt/__0_0.distcp",
                                    "sub/__0_0.distcp", ".dcpcpp.lock");
  DCP_CHECK_OK(fs->MakeDirectories("/ckpt/sub"));
  PutFile(*fs, "/ckpt/sub/__0_0.distcp", GetFile(*fs, "/ckpt/__0_0.distcp"));
  Metadata metadata = ReadMetadata(*fs);
  for (auto& [index, info] : metadata.storage_data) info.relative_path = name;
  PutStockMetadata(*fs, metadata);
  CHECK_FALSE(Copy(fs).ok());
  CHECK(FilesIn(*fs, "/copy").empty());
}

/// A memory file system cannot tell that the holder of a lock died, so that
/// data files count as somebody's.
void RemoveDataFiles(FileSystem& fs) {
  for (const auto& [name, bytes] : FilesIn(fs, "/copy")) {
    if (name.ends_with(".distcp")) DCP_CHECK_OK(fs.Remove("/copy/" + name));
  }
}

/// Copies from `disk` with a power cut after every call, and checks what is
/// left by `is_whole`: it is all or nothing, and the next copy works.
void CheckPowerCuts(const std::function<std::shared_ptr<FileSystem>()>& disk,
                    const std::function<bool(FileSystem&)>& is_whole) {
  bool done = false;
  int64_t cut = 0;
  for (; !done; ++cut) {
    FaultInjectionFileSystem fs(disk(), {.power_cut_after = cut});
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const bool ok = Copy(borrowed).ok();
    done = !fs.power_is_cut();
    for (RebootPolicy policy :
         {RebootPolicy::kDropUnsynced, RebootPolicy::kKeepAll,
          RebootPolicy::kKeepRandomly}) {
      INFO("power cut after call " << cut << ", policy " << int(policy));
      const auto after = fs.AfterReboot(policy, static_cast<uint64_t>(cut));
      if (is_whole(*after)) continue;
      CHECK_FALSE(ok);
      RemoveDataFiles(*after);
      DCP_CHECK_OK(Copy(after).status());
      CHECK(is_whole(*after));
    }
  }
  CHECK(cut > 20);
}

TEST_CASE("a power cut after any call leaves no copy or a whole one",
          "[checkpoint][copy][crash]") {
  const OldAndNew states = SmallStates();
  const bool is_ours = GENERATE(true, false);
  CheckPowerCuts(
      [&] {
        auto fs = is_ours ? Saved(states.new_state, {})
                          : SavedAsStock(states.new_state);
        PutFile(*fs, "/ckpt/config.json", "{}");
        return fs;
      },
      [&](FileSystem& fs) {
        const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
        const Found found =
            WhatIsIn(NativePlace{.fs = borrowed, .directory = "/copy"}, states);
        CHECK((found == Found::kNone || found == Found::kNew));
        return found == Found::kNew;
      });
}

TEST_CASE("a power cut leaves no copy of safetensors or a whole one",
          "[checkpoint][copy][crash]") {
  const bool of_ranks = GENERATE(false, true);
  const bool has_index = !of_ranks && GENERATE(true, false);
  const auto disk = [&] {
    return of_ranks ? RankFilesIn("/ckpt") : SafetensorsIn("/ckpt", has_index);
  };
  CheckPowerCuts(disk, [&](FileSystem& fs) {
    const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
    const auto report = VerifyStored(borrowed, "/copy");
    if (!report.ok()) return false;
    if (report->tensors == 0) return false;  // unpublished
    CHECK(report->damages.empty());
    CHECK(report->is_ours);
    return true;
  });
}

TEST_CASE("what a killed copy left is removed like that of a save",
          "[checkpoint][copy]") {
  const testing::TempDirectory place;
  const std::shared_ptr<FileSystem> fs = MakePosixFileSystem();
  const std::string source = place.path() + "/ckpt";
  const std::string copy = place.path() + "/copy";
  Overwrite(fs, conformance::SmallState(1), source);
  const std::string id = ".dcpcpp-0123456789abcdef0123456789abcdef";
  const auto leave_half = [&] {
    DCP_CHECK_OK(fs->MakeDirectories(copy));
    PutFile(*fs, copy + "/.dcpcpp.lock", "");  // that nobody holds
    PutFile(*fs, copy + "/__0_0.distcp", "half");
    PutFile(*fs, copy + "/" + id + ".0.shard", "{");
    PutFile(*fs, copy + "/" + id + ".tmp", "");
  };
  leave_half();
  const auto left = CleanCheckpoint(copy);
  DCP_CHECK_OK(left.status());
  CHECK(left->size() == 3);
  CHECK(FilesIn(*fs, copy).empty());
  leave_half();
  DCP_CHECK_OK(CopyCheckpoint(source, copy).status());
  CHECK(FilesIn(*fs, copy) == FilesIn(*fs, source));
}

}  // namespace
}  // namespace dcp
