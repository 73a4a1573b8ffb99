// What of a directory is copied, and whether it is the same at the end.

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/copy_testing.h"
#include "checkpoint/file_identity.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using testing::FaultInjectionFileSystem;
using testing::FsOp;

TEST_CASE("safetensors of others that are replaced meanwhile are noticed",
          "[checkpoint][copy]") {
  const bool has_index = GENERATE(true, false);
  const bool is_at_the_end = GENERATE(true, false);
  const auto fs = SafetensorsOfOthers(has_index);
  const std::string file = FilesOf(*fs, "model").at(0);
  bool is_done = false;
  const Status failed =
      Copy(fs, {.progress = [&](const CopyProgress& now) -> Status {
             const bool is_last = now.nbytes_done == now.nbytes_total;
             if (is_done || (is_at_the_end && !is_last))
               return absl::OkStatus();
             is_done = true;
             FlipBit(*fs, file, GetFile(*fs, file).size() - 1, 3);
             return absl::OkStatus();
           }})
          .status();
  CHECK(is_done);
  CHECK(failed.code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(failed)), Contains("copy it again"));
  CHECK(FilesIn(*fs, "/copy").empty());
  DCP_CHECK_OK(Copy(fs).status());
  CHECK(FilesIn(*fs, "/copy") == FilesIn(*fs, "/ckpt"));
}

/// Copies, and calls `change` when the first bytes have been copied.
Status CopyWhile(const std::shared_ptr<FileSystem>& fs,
                 const std::function<void()>& change) {
  int64_t calls = 0;
  const CopyOptions options{.progress = [&](const CopyProgress&) -> Status {
    if (calls++ == 0) change();
    return absl::OkStatus();
  }};
  const Status copied = Copy(fs, options).status();
  CHECK(calls > 0);
  return copied;
}

TEST_CASE("a log that grows is copied as it was at the start",
          "[checkpoint][copy]") {
  const auto fs = GENERATE(true, false) ? SavedAsStock(MixedState())
                                        : SafetensorsOfOthers(true);
  const auto start = GENERATE(as<std::string>{}, "", "step 1\n");
  PutFile(*fs, "/ckpt/train.log", start);
  const Files expected = FilesIn(*fs, "/ckpt");
  DCP_CHECK_OK(
      CopyWhile(fs, [&] { PutFile(*fs, "/ckpt/train.log", start + "more"); }));
  CHECK(FilesIn(*fs, "/copy") == expected);
}

TEST_CASE("a file beside a checkpoint that is another one now ends the copy",
          "[checkpoint][copy]") {
  const auto fs = SavedAsStock(MixedState());
  PutFile(*fs, "/ckpt/config.json", "{\"layers\": 1}");
  const auto other = GENERATE(as<std::string>{}, "{}", "{\"layers\": 2}",
                              "{\"heads\": 1, \"layers\": 1}");
  const Status failed =
      CopyWhile(fs, [&] { PutFile(*fs, "/ckpt/config.json", other); });
  CHECK(failed.code() == absl::StatusCode::kAborted);
  CHECK_THAT(std::string(Message(failed)), Contains("config.json"));
  CHECK(FilesIn(*fs, "/copy").empty());
}

TEST_CASE("a data file that grows while it is copied ends the copy",
          "[checkpoint][copy]") {
  const auto fs = SafetensorsOfOthers(true);
  const std::string file = FilesOf(*fs, "model-").at(0);
  const Status failed =
      CopyWhile(fs, [&] { PutFile(*fs, file, GetFile(*fs, file) + "more"); });
  CHECK(failed.code() == absl::StatusCode::kAborted);
  CHECK(FilesIn(*fs, "/copy").empty());
}

TEST_CASE("a file that was written again has another identity",
          "[checkpoint][copy]") {
  const testing::TempDirectory place;
  const auto fs = MakePosixFileSystem();
  const std::string path = place.path() + "/model.safetensors";
  const std::string bytes(1 << 20, 'x');
  PutFile(*fs, path, bytes);
  const auto identity = [&] {
    return IdentityOf(**fs->Open(path, {})).value();
  };
  const FileIdentity before = identity();
  CHECK(identity() == before);
  const auto written = std::filesystem::last_write_time(path);
  std::filesystem::last_write_time(path, written + std::chrono::seconds(1));
  CHECK(identity() != before);
  FlipBit(*fs, path, 0, 3);
  std::filesystem::last_write_time(path, written);
  CHECK(identity() != before);
  PutFile(*fs, path, bytes);
  std::filesystem::last_write_time(path, written);
  CHECK(identity() == before);
  const auto has_grown = [&] {
    return HasOnlyGrown(**fs->Open(path, {}), before).value();
  };
  CHECK_FALSE(has_grown());
  PutFile(*fs, path, bytes + "y");
  CHECK(has_grown());
  FlipBit(*fs, path, bytes.size() - 1, 3);
  CHECK_FALSE(has_grown());
}

TEST_CASE("safetensors that the index does not name are told",
          "[checkpoint][copy]") {
  const auto fs = SafetensorsOfOthers(true);
  PutFile(*fs, "/ckpt/consolidated.safetensors", "all in one");
  PutFile(*fs, "/ckpt/other.safetensors.index.json", "{}");
  const auto copied = Copy(fs);
  DCP_CHECK_OK(copied.status());
  std::vector<std::string> names;
  for (const FileNotCopied& file : copied->not_copied) {
    names.push_back(file.name);
    CHECK_THAT(file.reason, Contains("does not name it"));
    DCP_CHECK_OK(fs->Remove("/ckpt/" + file.name));
  }
  CHECK_THAT(names,
             Catch::Matchers::UnorderedEquals(std::vector<std::string>{
                 "consolidated.safetensors", "other.safetensors.index.json"}));
  CHECK(FilesIn(*fs, "/copy") == FilesIn(*fs, "/ckpt"));
}

TEST_CASE("a link that leads elsewhere stays behind and is told",
          "[checkpoint][copy]") {
  const testing::TempDirectory place;
  const std::shared_ptr<FileSystem> fs = MakePosixFileSystem();
  const std::string source = place.path() + "/ckpt";
  Overwrite(fs, conformance::SmallState(1), source);
  const Files expected = FilesIn(*fs, source);
  PutFile(*fs, place.path() + "/shared.json", "{}");
  std::filesystem::create_symlink("../shared.json", source + "/tokenizer.json");
  const auto copied = CopyCheckpoint(source, place.path() + "/copy");
  DCP_CHECK_OK(copied.status());
  REQUIRE(copied->not_copied.size() == 1);
  CHECK(copied->not_copied[0].name == "tokenizer.json");
  CHECK_THAT(copied->not_copied[0].reason, Contains("not beneath"));
  CHECK(FilesIn(*fs, place.path() + "/copy") == expected);
  std::filesystem::rename(source + "/__0_0.distcp", place.path() + "/data");
  std::filesystem::create_symlink("../data", source + "/__0_0.distcp");
  CHECK_FALSE(CopyCheckpoint(source, place.path() + "/second").ok());
}

TEST_CASE("an error while a copy is published says that it is in doubt",
          "[checkpoint][copy]") {
  FaultInjectionFileSystem fs(
      SafetensorsOfOthers(false),
      {.faults = {{.call = 2, .op = FsOp::kRename}}});  // the first: config
  const std::shared_ptr<FileSystem> borrowed(&fs, [](FileSystem*) {});
  const Status failed = Copy(borrowed).status();
  REQUIRE_FALSE(failed.ok());
  CHECK(GetErrorDetail(failed).value().op == "commit");
  CHECK_THAT(std::string(Message(failed)), Contains("while publishing"));
}

}  // namespace
}  // namespace dcp
