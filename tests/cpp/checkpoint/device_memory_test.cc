// Tensors in device memory, saved and loaded through the device's runtime.

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/tensor_cases.h"
#include "checkpoint/staged_saves.h"
#include "storage/damage.h"
#include "testing/fake_device.h"

namespace dcp {
namespace {

using conformance::RandomTensor;
using conformance::State;
using testing::FakeDevice;

/// The native storage in memory, with a device.
struct DeviceStorage {
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  std::shared_ptr<FileSystem> fs = MakeMemoryFileSystem();

  /// Of entries, or of what is staged of them.
  template <typename Entries>
  StatusOr<SaveResult> Save(const Entries& entries,
                            FileSystemWriterOptions options = {}) const {
    options.path = "/ckpt";
    options.io = ModestIo(IoEngineKind::kThreads);
    const auto writer = MakeFileSystemWriter(
        options, {.file_system = fs, .device_runtime = device});
    const auto transport = MakeSingleProcessTransport();
    return dcp::Save(entries, *writer, *transport, {});
  }

  Status Read(const LoadEntry& entry) const {
    auto checkpoint = Checkpoint::Open(MakeFileSystemReader(
        {.path = "/ckpt", .io = ModestIo(IoEngineKind::kThreads)},
        {.file_system = fs, .device_runtime = device}));
    DCP_RETURN_IF_ERROR(checkpoint.status());
    return (*checkpoint)->Read({&entry, 1}).status();
  }
};

State DeviceState() {
  State state;
  state.tensors["small"] = RandomTensor(1, DType::kFloat32, {5, 7});
  state.tensors["scalar"] = RandomTensor(2, DType::kInt64, {});
  state.tensors["none"] = RandomTensor(3, DType::kFloat32, {0, 2});
  state.tensors["large"] = RandomTensor(4, DType::kFloat32, {1200, 901});
  return state;
}

/// All tensors of `state` as they lie on the device. Owned by `memory`.
std::vector<SaveEntry> OnDevice(const State& state,
                                std::deque<std::string>& memory) {
  std::vector<SaveEntry> entries;
  for (const auto& [fqn, tensor] : state.tensors) {
    memory.push_back(FakeDevice::TurnedOver(tensor.bytes));
    entries.push_back(TensorEntry(
        fqn, FakeDevice::OnDevice(ContiguousView(memory.back().data(),
                                                 tensor.dtype, tensor.sizes))));
  }
  return entries;
}

TEST_CASE("what is streamed from a device is stored as it is, at its rate",
          "[checkpoint][device][staging]") {
  State state;
  state.tensors["a"] = RandomTensor(1, DType::kUInt8, {100000});
  state.tensors["b"] = RandomTensor(2, DType::kUInt8, {100000});
  state.tensors["none"] = RandomTensor(3, DType::kFloat32, {0, 2});
  for (auto compression : {Compression::kNone, Compression::kZstd}) {
    std::deque<std::string> memory;
    const DeviceStorage storage;
    Stage stage;
    stage.device = storage.device;
    auto staged = stage.Begin(OnDevice(state, memory),
                              {.max_nbytes = 0, .max_copy_rate = 1000000});
    const auto begin = std::chrono::steady_clock::now();
    RequireSaved(storage.Save(staged, {.compression = compression}));
    const auto took = std::chrono::steady_clock::now() - begin;
    CHECK(took >= std::chrono::milliseconds(100));  // the first one's share
    DCP_CHECK_OK(staged->WaitStaged());
    CHECK(staged->nbytes_streamed() == 200000);
    staged.reset();
    CHECK(storage.device->copiers() == 0);
    conformance::CheckHolds(NativeStorage(NativePlace{.fs = storage.fs}),
                            state);
  }
}

TEST_CASE("device tensors are stored as their values, plain and compressed",
          "[checkpoint][device]") {
  const State state = DeviceState();
  std::deque<std::string> memory;
  const auto entries = OnDevice(state, memory);
  for (auto compression : {Compression::kNone, Compression::kZstd}) {
    const DeviceStorage storage;
    const auto saved = storage.Save(entries, {.compression = compression});
    INFO(Message(saved.status()));
    REQUIRE(saved.ok());
    CHECK(storage.device->copies() > 3);
    conformance::CheckHolds(NativeStorage(NativePlace{.fs = storage.fs}),
                            state);
  }
}

TEST_CASE("device tensors are cast on the way to the file",
          "[checkpoint][device]") {
  State state;
  // 1.0 and -3.0, which bfloat16 holds exactly.
  state.tensors["w"] = {.dtype = DType::kFloat32, .sizes = {300000}};
  std::string stored;
  for (int i = 0; i < 300000; ++i) {
    const bool one = i % 3 == 0;
    state.tensors["w"].bytes +=
        one ? std::string("\0\0\x80\x3f", 4) : std::string("\0\0\x40\xc0", 4);
    stored += one ? "\x80\x3f" : "\x40\xc0";
  }
  std::deque<std::string> memory;
  const DeviceStorage storage;
  REQUIRE(
      storage.Save(OnDevice(state, memory), {.export_dtype = DType::kBFloat16})
          .ok());
  state.tensors["w"] = {
      .dtype = DType::kBFloat16, .sizes = {300000}, .bytes = stored};
  conformance::CheckHolds(NativeStorage(NativePlace{.fs = storage.fs}), state);
}

TEST_CASE("parts of tensors are loaded into device memory of any strides",
          "[checkpoint][device]") {
  const State state = DeviceState();
  std::deque<std::string> memory;
  const DeviceStorage storage;
  REQUIRE(storage.Save(OnDevice(state, memory)).ok());
  Random random(1);
  for (bool stock : {false, true}) {
    if (stock) PutStockMetadata(*storage.fs, ReadMetadata(*storage.fs));
    for (int round = 0; round < 40; ++round) {
      const char* fqn = random.Pick({"small", "scalar", "none", "large"});
      const auto& tensor = state.tensors.at(fqn);
      const Box box = random.PartOf(tensor.sizes);
      OwnedTensor owned =
          random.Strided(tensor.dtype, box.sizes, Random::Overlap::kForbidden);
      const LoadEntry entry = ShardLoad(fqn, FakeDevice::OnDevice(owned.view),
                                        tensor.sizes, box.offsets);
      DCP_CHECK_OK(storage.Read(entry));
      const std::string expected =
          FakeDevice::TurnedOver(conformance::BytesOf(tensor, box));
      const auto itemsize = static_cast<size_t>(ItemSize(tensor.dtype));
      bool same = true;
      for (int64_t e = 0; e < box.numel(); ++e) {
        same = same &&
               std::memcmp(owned.ElementAt(IndexOfElement(e, box.sizes)),
                           expected.data() + static_cast<size_t>(e) * itemsize,
                           itemsize) == 0;
      }
      INFO(fqn << " " << ToString(box) << ", round " << round);
      CHECK(same);
    }
  }
}

TEST_CASE("a device destination of another dtype gets cast values",
          "[checkpoint][device]") {
  State state;
  state.tensors["i"] = {.dtype = DType::kInt32, .sizes = {2}};
  state.tensors["i"].bytes = std::string("\x07\0\0\0\xfe\xff\xff\xff", 8);
  std::deque<std::string> memory;
  const DeviceStorage storage;
  REQUIRE(storage.Save(OnDevice(state, memory)).ok());
  std::string wide(16, '?');
  DCP_CHECK_OK(storage.Read(TensorLoad(
      "i",
      FakeDevice::OnDevice(ContiguousView(wide.data(), DType::kInt64, {2})))));
  CHECK(FakeDevice::TurnedOver(wide) ==
        std::string("\x07\0\0\0\0\0\0\0\xfe\xff\xff\xff\xff\xff\xff\xff", 16));
}

TEST_CASE("a copy that fails fails the save and the load",
          "[checkpoint][device]") {
  const State state = DeviceState();
  std::deque<std::string> memory;
  const auto entries = OnDevice(state, memory);
  const DeviceStorage good;
  REQUIRE(good.Save(entries).ok());
  const int64_t copies = good.device->copies();
  for (int64_t copy = 1; copy <= copies; copy += 3) {
    const DeviceStorage storage;
    storage.device->FailFrom(copy);
    const auto saved = storage.Save(entries);
    CHECK_THAT(std::string(Message(saved.status())),
               Catch::Contains("the device fell off"));
    CHECK(FilesOf(*storage.fs, "").empty());
  }
  good.device->FailFrom(1);
  std::string bytes(5 * 7 * 4, '?');
  const Status read = good.Read(
      TensorLoad("small", FakeDevice::OnDevice(ContiguousView(
                              bytes.data(), DType::kFloat32, {5, 7}))));
  CHECK_THAT(std::string(Message(read)),
             Catch::Contains("the device fell off"));
}

}  // namespace
}  // namespace dcp
