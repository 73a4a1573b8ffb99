// A whole checkpoint of stock torch's kind, one file of which is anything: what
// is verified without damage can be loaded.

#include <cstring>
#include <memory>
#include <string_view>

#include "dcp/checkpoint.h"
#include "dcp/filesystem_storage.h"
#include "dcp/metadata_codec.h"
#include "dcp/verify.h"
#include "fuzz/fuzz_target.h"

namespace dcp {
namespace {

constexpr std::string_view kDirectory = "/c";
constexpr int64_t kNumel = 300;
// First byte of an input: which file the rest replaces.
constexpr char kMetadata = 'M';
constexpr char kData = 'D';

const IoOptions kIo{.engine = IoEngineKind::kThreads,
                    .direct_io = DirectIo::kOff,
                    .workers = 1};

struct Original {
  std::string metadata;
  std::string data;
  std::string weight;
};

std::string PathOf(std::string_view name) {
  return JoinPath(std::string(kDirectory), std::string(name));
}

std::string MustRead(FileSystem& fs, const std::string& path) {
  const auto bytes = ReadFile(fs, path, int64_t{1} << 20, {});
  Require(bytes.ok(), "a file that was written can be read");
  return *bytes;
}

TensorView ViewOf(std::string& bytes) {
  return ContiguousView(bytes.data(), DType::kInt32, Dims{kNumel});
}

Original Make() {
  Original original;
  for (int64_t i = 0; i < kNumel; ++i) {
    const auto value = static_cast<int32_t>(i * 7919);
    original.weight.append(reinterpret_cast<const char*>(&value),
                           sizeof(value));
  }
  const std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();
  const auto step = ObjectEntry("step", ObjectValue(int64_t{7}));
  Require(step.ok(), "a number is an object");
  const std::vector<SaveEntry> entries = {
      TensorEntry("weight", ViewOf(original.weight)), *step};
  const auto writer = MakeFileSystemWriter(
      {.path = std::string(kDirectory), .io = kIo}, {.file_system = fs});
  const auto transport = MakeSingleProcessTransport();
  Require(
      Save(std::span<const SaveEntry>(entries), *writer, *transport, {}).ok(),
      "a save works");
  auto metadata = ParseMetadata(MustRead(*fs, PathOf(".metadata")));
  Require(metadata.ok(), "its metadata can be read");
  metadata->storage_meta->save_id = "stock";
  original.metadata = SerializeMetadata(*metadata).value();
  original.data = MustRead(*fs, PathOf("__0_0.distcp"));
  return original;
}

const Original& TheOriginal() {
  static const Original& original = *new Original(Make());
  return original;
}

void Put(FileSystem& fs, std::string_view name, std::string_view bytes) {
  Require(WriteFile(fs, PathOf(name), bytes, SyncMode::kNone).ok(),
          "memory can be written");
}

class TensorRequest final : public LoadRequest {
 public:
  explicit TensorRequest(TensorView view) : view_(std::move(view)) {}
  StatusOr<std::vector<LoadEntry>> MakeEntries(const Metadata&) override {
    return std::vector<LoadEntry>{TensorLoad("weight", view_)};
  }

 private:
  const TensorView view_;
};

bool Loads(const std::shared_ptr<FileSystem>& fs) {
  std::string weight(TheOriginal().weight.size(), '?');
  const auto reader = MakeFileSystemReader(
      {.path = std::string(kDirectory), .io = kIo}, {.file_system = fs});
  const auto transport = MakeSingleProcessTransport();
  TensorRequest request(ViewOf(weight));
  return Load(request, *reader, *transport, {}).ok();
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {kMetadata + TheOriginal().metadata, kData + TheOriginal().data};
}
std::vector<std::string> FuzzDictionary() {
  return {"__0_0.distcp", "../", "weight", "int32", "PK\1\2", "PK\5\6"};
}

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const bool is_data = input[0] == dcp::kData;
  const dcp::Original& original = dcp::TheOriginal();
  const std::shared_ptr<dcp::FileSystem> fs = dcp::MakeMemoryFileSystem();
  dcp::Require(fs->MakeDirectories(std::string(dcp::kDirectory)).ok(),
               "memory has room");
  dcp::Put(*fs, ".metadata", is_data ? original.metadata : input.substr(1));
  dcp::Put(*fs, "__0_0.distcp", is_data ? input.substr(1) : original.data);
  const bool loads = dcp::Loads(fs);
  const auto report = dcp::Verify(std::string(dcp::kDirectory),
                                  {.io = dcp::kIo}, {.file_system = fs});
  if (is_data && report.ok() && report->damages.empty()) {
    dcp::Require(loads, "what is whole can be loaded");
  }
  return 0;
}
