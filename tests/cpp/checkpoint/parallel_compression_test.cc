// Compression takes several threads: small tensors one each, a large one zstd's
// own.

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <deque>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "storage/storage_cases.h"
#include "testing/fake_device.h"
#include "testing/gate.h"

namespace dcp {
namespace {

using testing::FakeDevice;

Status SaveCompressed(const std::shared_ptr<FakeDevice>& device, int workers,
                      std::vector<SaveEntry> entries) {
  IoOptions io = ModestIo(IoEngineKind::kThreads);
  io.workers = workers;
  const auto writer = MakeFileSystemWriter(
      {.path = "/ckpt", .compression = Compression::kZstd, .io = io},
      {.file_system = MakeMemoryFileSystem(), .device_runtime = device});
  const auto transport = MakeSingleProcessTransport();
  return dcp::Save(entries, *writer, *transport, {}).status();
}

SaveEntry Bytes(const char* fqn, std::string& memory) {
  return TensorEntry(fqn, FakeDevice::OnDevice(ContiguousView(
                              memory.data(), DType::kUInt8,
                              {static_cast<int64_t>(memory.size())})));
}

TEST_CASE("small tensors are compressed side by side", "[checkpoint][zstd]") {
  // Each needs its one copy from the device; none is let through before all
  // are there, so one thread alone would not get to the second.
  std::string memory(1000, 'x');
  for (const int workers : {2, 4}) {
    testing::Gate gate;
    const auto device = std::make_shared<FakeDevice>();
    device->on_copy = [&gate] { gate.Pass(); };
    std::vector<SaveEntry> entries;
    for (const char* fqn : {"a", "b", "c", "d", "e", "f", "g", "h"}) {
      entries.push_back(Bytes(fqn, memory));
    }
    Status saved;
    std::thread save(
        [&] { saved = SaveCompressed(device, workers, std::move(entries)); });
    gate.AwaitWaiting(workers);
    gate.Open();
    save.join();
    INFO(Message(saved));
    CHECK(saved.ok());
  }
}

int64_t ThreadCount() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                       {});
}

/// The most threads there were while a tensor of 9 MiB was compressed.
int64_t ThreadsForLarge(int workers) {
  std::string memory(size_t{9} << 20, 'x');
  std::atomic<int64_t> most{0};
  const auto device = std::make_shared<FakeDevice>();
  device->on_copy = [&most] { most = std::max(most.load(), ThreadCount()); };
  const Status saved = SaveCompressed(device, workers, {Bytes("w", memory)});
  INFO(Message(saved));
  CHECK(saved.ok());
  return most;
}

TEST_CASE("a large tensor is compressed by zstd's threads",
          "[checkpoint][zstd]") {
  CHECK(ThreadsForLarge(4) - ThreadsForLarge(1) == 3);
}

}  // namespace
}  // namespace dcp
