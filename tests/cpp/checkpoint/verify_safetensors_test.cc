// Verify, of directories of safetensors files.

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "checkpoint/hugging_face_place.h"
#include "checkpoint/verify_testing.h"
#include "format/safetensors_index.h"
#include "testing/fault_injection_file_system.h"
#include "testing/no_exchange_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::State;

State ModelState() {
  State state = MixedState();
  state.objects.clear();
  return state;
}

const std::string kFirst = "/m/model-00001-of-00002.safetensors";
const std::string kSecond = "/m/model-00002-of-00002.safetensors";
const std::string kIndex = "/m/model.safetensors.index.json";

/// Two files with an index, which dcp wrote.
std::shared_ptr<FileSystem> SavedModel() {
  Place place(MakeMemoryFileSystem(), "/m");
  place.options.max_shard_nbytes = int64_t{2} << 20;
  RequireAllSucceed(place.Save(Sharded(ModelState(), 2)));
  REQUIRE(place.names().size() == 3);
  return place.fs;
}

/// The same, as another program would have written it.
std::shared_ptr<FileSystem> AsOthersSave(
    const std::shared_ptr<FileSystem>& fs) {
  auto index = ParseSafetensorsIndex(GetFile(*fs, kIndex)).value();
  index.save_id.reset();
  PutFile(*fs, kIndex, SerializeSafetensorsIndex(index).value());
  const auto entries = fs->List("/m").value();
  for (const DirectoryEntry& entry : entries) {
    if (!entry.name.starts_with(".dcpcpp-")) continue;
    DCP_CHECK_OK(fs->Remove(JoinPath("/m", entry.name)));
  }
  return fs;
}

VerifyReport ReportOf(std::shared_ptr<FileSystem> fs) {
  auto report = VerifyStored(std::move(fs), "/m");
  CAPTURE(Message(report.status()));
  REQUIRE(report.ok());
  return *std::move(report);
}

TEST_CASE("whole safetensors files have no damage",
          "[checkpoint][verify][hugging_face]") {
  const bool is_ours = GENERATE(true, false);
  const auto fs = is_ours ? SavedModel() : AsOthersSave(SavedModel());
  const int64_t stored =
      std::ssize(GetFile(*fs, kFirst)) + std::ssize(GetFile(*fs, kSecond));
  const auto report = ReportOf(fs);
  CHECK(Describe(report.damages).empty());
  CHECK(report.format == CheckpointFormat::kSafetensors);
  CHECK(report.is_ours == is_ours);
  CHECK(report.save_id.empty() == !is_ours);
  CHECK(report.files == 2);
  CHECK(report.tensors == 4);
  CHECK(report.objects == 0);
  CHECK(report.nbytes == (is_ours ? stored : 0));
}

TEST_CASE("a single safetensors file is checked",
          "[checkpoint][verify][hugging_face]") {
  Place place(MakeMemoryFileSystem(), "/m");
  RequireAllSucceed(place.Save(Sharded(ModelState(), 2)));
  const auto report = ReportOf(place.fs);
  CHECK(report.damages.empty());
  CHECK(report.is_ours);
  const std::string path = "/m/model.safetensors";
  const std::string good = GetFile(*place.fs, path);
  FlipBit(*place.fs, path, good.size() - 1, 3);
  const auto damages = ReportOf(place.fs).damages;
  // Small tensors share the block that has one checksum.
  CHECK(KeysIn(damages, path).contains("flag"));
  // In the header.
  PutFile(*place.fs, path, good);
  FlipBit(*place.fs, path, 60, 0);
  CHECK_FALSE(ReportOf(place.fs).damages.empty());
}

TEST_CASE("one of several safetensors files is checked by itself",
          "[checkpoint][verify][hugging_face]") {
  const bool is_ours = GENERATE(true, false);
  const auto fs = is_ours ? SavedModel() : AsOthersSave(SavedModel());
  const auto report_of = [&](const std::string& path) {
    const auto report = VerifyStored(fs, path);
    DCP_CHECK_OK(report.status());
    return report.value();
  };
  FlipBit(*fs, kSecond, GetFile(*fs, kSecond).size() / 2, 5);
  const VerifyReport first = report_of(kFirst);
  CHECK(Describe(first.damages).empty());
  CHECK(first.format == CheckpointFormat::kSafetensors);
  CHECK(first.is_ours == is_ours);
  CHECK(first.files == 1);
  CHECK(first.tensors + report_of(kSecond).tensors == 4);
  CHECK(first.nbytes == (is_ours ? std::ssize(GetFile(*fs, kFirst)) : 0));
  CHECK(report_of(kSecond).damages.empty() == !is_ours);
  PutFile(*fs, kFirst, GetFile(*fs, kFirst).substr(0, 5000));
  CHECK(KeysIn(report_of(kFirst).damages, kFirst).size() == 1);
  CHECK(VerifyStored(fs, "/m/no.safetensors").status().code() ==
        absl::StatusCode::kNotFound);
}

TEST_CASE(
    "safetensors that are replaced while they are checked are not damaged",
    "[checkpoint][verify][hugging_face]") {
  State small;
  for (int i = 0; i < 2; ++i) {
    small.tensors["t" + std::to_string(i)] =
        conformance::RandomTensor(static_cast<uint64_t>(i), DType::kInt8, {40});
  }
  const bool exchange = GENERATE(true, false);
  const int64_t max_shard_nbytes = GENERATE(40, 1000);  // two files, or one
  int64_t n = 1;
  for (bool is_replaced = true; is_replaced; ++n) {
    const auto disk = std::make_shared<testing::FaultInjectionFileSystem>(
        MakeMemoryFileSystem());
    std::shared_ptr<FileSystem> fs = disk;
    if (!exchange) fs = std::make_shared<testing::NoExchangeFileSystem>(fs);
    Place place(fs, "/run/m");
    place.options.max_shard_nbytes = max_shard_nbytes;
    const auto save = [&] { RequireAllSucceed(place.Save(Sharded(small, 1))); };
    save();
    std::atomic<bool> has_saved{false};
    disk->Restart(
        {.on_call = [&](int64_t call, testing::FsOp, const std::string&) {
          if (call >= n && !has_saved.exchange(true)) save();
        }});
    INFO("before call " << n);
    const auto report = VerifyStored(fs, "/run/m");
    CAPTURE(Message(report.status()));
    REQUIRE(report.ok());
    CHECK(Describe(report->damages).empty());
    CHECK(report->is_ours);
    is_replaced = has_saved;
  }
  CHECK(n > 10);
}

TEST_CASE("a bit that flips is found with its tensor and place",
          "[checkpoint][verify][hugging_face]") {
  const auto fs = SavedModel();
  const size_t middle = GetFile(*fs, kSecond).size() / 2;
  FlipBit(*fs, kSecond, middle, 5);
  const auto damages = ReportOf(fs).damages;
  INFO(Describe(damages));
  REQUIRE_FALSE(damages.empty());
  for (const Damage& damage : damages) {
    CHECK(damage.path == kSecond);
    CHECK(damage.byte_offset.value() <= static_cast<int64_t>(middle));
    CHECK_FALSE(damage.fqn.empty());
  }
}

TEST_CASE("damage of one safetensors file does not hide that of another",
          "[checkpoint][verify][hugging_face]") {
  const bool is_ours = GENERATE(true, false);
  const auto fs = is_ours ? SavedModel() : AsOthersSave(SavedModel());
  PutFile(*fs, kFirst, GetFile(*fs, kFirst).substr(0, 5000));
  DCP_CHECK_OK(fs->Remove(kSecond));
  const auto damages = ReportOf(fs).damages;
  INFO(Describe(damages));
  CHECK_FALSE(KeysIn(damages, kFirst).empty());
  CHECK_FALSE(KeysIn(damages, kSecond).empty());
}

TEST_CASE("a header that breaks the format's rules is damage",
          "[checkpoint][verify][hugging_face]") {
  const auto fs = AsOthersSave(SavedModel());
  std::string bytes = GetFile(*fs, kFirst);
  bytes[0] = static_cast<char>(bytes[0] + 1);  // the header's length
  PutFile(*fs, kFirst, bytes);
  const auto damages = ReportOf(fs).damages;
  REQUIRE(damages.size() == 1);
  CHECK(damages[0].path == kFirst);
}

TEST_CASE("an index that lists what is not there is damage",
          "[checkpoint][verify][hugging_face]") {
  const auto fs = AsOthersSave(SavedModel());
  auto index = ParseSafetensorsIndex(GetFile(*fs, kIndex)).value();
  index.weight_map["ghost"] = "model-00001-of-00002.safetensors";
  PutFile(*fs, kIndex, SerializeSafetensorsIndex(index).value());
  const auto damages = ReportOf(fs).damages;
  REQUIRE(damages.size() == 1);
  CHECK_THAT(damages[0].message, Contains("the index names a file"));
  PutFile(*fs, kIndex, "{}");
  CHECK_FALSE(ReportOf(fs).damages.empty());
}

TEST_CASE("a lost sidecar is damage, and headers are still checked",
          "[checkpoint][verify][hugging_face]") {
  const auto fs = SavedModel();
  const auto index = ParseSafetensorsIndex(GetFile(*fs, kIndex)).value();
  const std::string sidecar = "/m/." + index.save_id.value();
  DCP_CHECK_OK(fs->Remove(sidecar));
  PutFile(*fs, kFirst, "short");
  const auto damages = ReportOf(fs).damages;
  INFO(Describe(damages));
  CHECK_FALSE(KeysIn(damages, sidecar).empty());
  CHECK_FALSE(KeysIn(damages, kFirst).empty());
}

}  // namespace
}  // namespace dcp
