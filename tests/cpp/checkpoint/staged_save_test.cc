// A staged save stores what the plain one would have stored when it began.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/tensor_cases.h"
#include "checkpoint/staged_saves.h"
#include "format/item_testing.h"
#include "format/torch_item.h"
#include "testing/fault_injection_file_system.h"
#include "testing/gate.h"

namespace dcp {
namespace {

using conformance::CheckHolds;
using conformance::RandomTensor;
using conformance::State;
using conformance::StateTensor;
using testing::FakeDevice;
using testing::FaultInjectionFileSystem;
using testing::FsOp;
using testing::Gate;

/// Any that is not stored encoded.
DType AnyDType(Random& random) {
  const std::span<const DTypeInfo> all = AllDTypes();
  while (true) {
    const auto i = random.Between(0, static_cast<int64_t>(all.size()) - 1);
    const DTypeInfo& info = all[static_cast<size_t>(i)];
    if (info.kind != DTypeKind::kQuantized) return info.dtype;
  }
}

/// Of less than 64 KiB: what pads larger items depends on where they lie, which
/// streaming changes.
Dims SmallSizes(Random& random, DType dtype) {
  while (true) {
    const Dims sizes = random.Sizes(4, 14);
    if (Numel(sizes) * ItemSize(dtype) < kLargeItemNbytes) return sizes;
  }
}

/// Tensors of any dtype and layout, tied and encoded ones, and objects.
struct RandomState {
  explicit RandomState(Random& random) {
    const int64_t count = random.Between(0, 12);
    for (int64_t i = 0; i < count; ++i) {
      const DType dtype = AnyDType(random);
      tensors.push_back(random.Strided(dtype, SmallSizes(random, dtype),
                                       Random::Overlap::kAllowed));
      TensorView& view = tensors.back().view;
      if (random.OneIn(3) && SupportsElementOp(ElementOp::kNeg, dtype)) {
        view.op = ElementOp::kNeg;
      }
      const std::string fqn = "t" + std::to_string(i);
      entries.push_back(TensorEntry(fqn, view));
      if (random.OneIn(4)) {
        // Tied in memory, and not in what it says.
        if (random.OneIn(2)) view.op = ElementOp::kNone;
        entries.push_back(TensorEntry(fqn + ".tied", view));
      }
    }
    if (random.OneIn(2)) {
      const StateTensor shape = RandomTensor(5, DType::kFloat32, {3, 5});
      encoded = RenderItem({.dtype = shape.dtype, .sizes = shape.sizes}, 0,
                           shape.bytes);
      entries.push_back(TensorEntry(
          "encoded", ContiguousView(nullptr, shape.dtype, shape.sizes)));
      std::get<TensorShard>(entries.back().value).encoded = encoded;
    }
    entries.push_back(ObjectEntry("step", {random.Between(0, 99)}).value());
  }

  void Overwrite() {
    for (OwnedTensor& tensor : tensors) {
      for (std::byte& b : tensor.memory) b = ~b;
    }
    for (char& c : encoded) c = '!';
  }

  std::vector<OwnedTensor> tensors;
  std::string encoded;
  std::vector<SaveEntry> entries;
};

TEST_CASE("items of a staged save are those of a plain one, within any limit",
          "[checkpoint][staging]") {
  Random random(11);
  for (int round = 0; round < 150; ++round) {
    RandomState state(random);
    const FileSystemWriterOptions options = {
        .single_file_per_rank = !random.OneIn(4),
        .file_count = random.OneIn(3) ? 3 : 1,
        .compression =
            random.OneIn(3) ? Compression::kZstd : Compression::kNone};
    const auto plain = MakeMemoryFileSystem();
    const auto transport = MakeSingleProcessTransport();
    const auto writer = NativeStorage(PlaceOn(plain, options)).make_writer();
    RequireSaved(Save(state.entries, *writer, *transport, {}));

    const auto fs = MakeMemoryFileSystem();
    Stage stage;
    StagingOptions staging{.threads = static_cast<int>(random.Between(0, 3))};
    if (random.OneIn(2)) staging.max_nbytes = random.Between(0, 20000);
    auto staged = stage.Begin(state.entries, staging);
    StatusOr<SaveResult> saved = SaveResult{};
    std::thread saving([&] {
      saved = SaveStaged(staged, NativeStorage(PlaceOn(fs, options)));
    });
    const Status waited = staged->WaitStaged();
    state.Overwrite();
    saving.join();
    INFO("round " << round << ", " << staged->nbytes_streamed() << " of "
                  << staged->nbytes() << " bytes streamed");
    CHECK(waited.ok());
    RequireSaved(saved);
    CHECK(ItemsOf(*fs) == ItemsOf(*plain));
    CHECK(ReadMetadata(*fs).entries() == ReadMetadata(*plain).entries());
    CHECK(stage.pages.most_mapped <= staging.max_nbytes.value_or(1 << 30));
    staged.reset();  // its thread may just be giving the memory back
    CHECK(stage.arena.leased_nbytes() == 0);
  }
}

/// A tensor whose staging waits for the test.
struct HeldBack {
  HeldBack() {
    stage.pages.on_map = [this] { gate.Pass(); };
  }
  /// Stages, changes the tensor before or after the copy, saves, and returns
  /// whether the checkpoint has what was there at the beginning.
  bool KeepsTheOld(bool waits) {
    const State before = state;
    const auto staged = stage.Begin(EntriesOf(state));
    gate.AwaitWaiting(1);
    if (waits) {
      gate.Open();
      DCP_CHECK_OK(staged->WaitStaged());
    }
    state.tensors.at("w").bytes.assign(4000, 'n');
    gate.Open();
    const auto fs = MakeMemoryFileSystem();
    const auto storage = NativeStorage(PlaceOn(fs));
    RequireSaved(SaveStaged(staged, storage));
    auto wanted = conformance::AllOf(before);
    DCP_CHECK_OK(conformance::LoadInto(*storage.make_reader(), wanted));
    return wanted.at(0).bytes == before.tensors.at("w").bytes;
  }

  State state{.tensors = {{"w", RandomTensor(1, DType::kFloat32, {1000})}}};
  Gate gate;
  Stage stage;
};

TEST_CASE("a tensor that changes after the wait is saved as it was",
          "[checkpoint][staging]") {
  CHECK(HeldBack().KeepsTheOld(true));
}

TEST_CASE("a tensor that changes without the wait is saved as it became",
          "[checkpoint][staging]") {
  CHECK_FALSE(HeldBack().KeepsTheOld(false));
}

TEST_CASE("writing begins while a copy is still to come",
          "[checkpoint][staging]") {
  State state;
  // More than a batch.
  state.tensors["a"] = RandomTensor(1, DType::kUInt8, {70 * kMiB});
  state.tensors["z"] = RandomTensor(2, DType::kUInt8, {1000});
  std::string on_device = FakeDevice::TurnedOver(state.tensors["z"].bytes);
  std::vector<SaveEntry> entries = EntriesOf(state);
  auto& last = std::get<TensorShard>(entries.back().value).view;
  last.data = on_device.data();
  last = FakeDevice::OnDevice(last);

  Stage stage;
  Gate written;
  stage.device->on_copy = [&] { written.Pass(); };
  const auto memory = MakeMemoryFileSystem();
  const auto fs = std::make_shared<FaultInjectionFileSystem>(
      memory, testing::FaultScript{
                  .on_call = [&](int64_t, FsOp op, const std::string& path) {
                    if (op == FsOp::kWrite && path.ends_with(".distcp"))
                      written.Open();
                  }});
  const auto staged = stage.Begin(std::move(entries));
  // Would wait for ever if the device's copy came before the first write.
  RequireSaved(SaveStaged(staged, NativeStorage(PlaceOn(fs))));
  CheckHolds(NativeStorage(PlaceOn(memory)), state);
}

TEST_CASE("what is streamed is free as soon as it is written",
          "[checkpoint][staging]") {
  State state;
  for (const char* fqn : {"a", "b", "c", "d"}) {
    state.tensors[fqn] = RandomTensor(1, DType::kUInt8, {100000});
  }
  const State before = state;
  Stage stage;
  const auto staged = stage.Begin(EntriesOf(state), {.max_nbytes = 210000});
  const auto memory = MakeMemoryFileSystem();
  Gate free;
  const auto fs = std::make_shared<FaultInjectionFileSystem>(
      memory, testing::FaultScript{
                  .on_call = [&](int64_t, FsOp op, const std::string& path) {
                    if (op == FsOp::kSync && path.ends_with(".distcp")) {
                      free.Pass();
                    }
                  }});
  StatusOr<SaveResult> saved = SaveResult{};
  std::thread saving(
      [&] { saved = SaveStaged(staged, NativeStorage(PlaceOn(fs))); });
  // The save cannot end before the wait does.
  CHECK(staged->WaitStaged().ok());
  CHECK(staged->nbytes_streamed() == 200000);
  CHECK(staged->nbytes_staged() == 200000);
  for (auto& [fqn, tensor] : state.tensors) tensor.bytes.assign(100000, '!');
  free.Open();
  saving.join();
  RequireSaved(saved);
  CheckHolds(NativeStorage(PlaceOn(memory)), before);
}

TEST_CASE("two states wait for each other's memory, or share it",
          "[checkpoint][staging]") {
  for (const int64_t limit : {3 * kMiB, 5 * kMiB}) {
    Stage stage;
    State first;
    first.tensors["w"] = RandomTensor(1, DType::kUInt8, {2 * kMiB});
    State second;
    second.tensors["w"] = RandomTensor(2, DType::kUInt8, {2 * kMiB});
    const auto one = stage.Begin(EntriesOf(first), {.max_nbytes = limit});
    DCP_CHECK_OK(one->WaitStaged());
    const auto two = stage.Begin(EntriesOf(second), {.max_nbytes = limit});
    const bool both_fit = limit > 4 * kMiB;
    if (both_fit) {
      DCP_CHECK_OK(two->WaitStaged());
    } else {
      CHECK(two->WaitStaged(Clock::Duration(0)).code() ==
            absl::StatusCode::kDeadlineExceeded);
    }
    const auto fs = MakeMemoryFileSystem();
    const auto storage = NativeStorage(PlaceOn(fs));
    RequireSaved(SaveStaged(one, storage));
    CheckHolds(storage, first);
    // The first is saved: its memory is the second's, although it lives.
    DCP_CHECK_OK(two->WaitStaged());
    CHECK(two->nbytes_streamed() == 0);
    RequireSaved(SaveStaged(two, storage));
    CheckHolds(storage, second);
    CHECK(stage.pages.most_mapped <= limit);
  }
}

}  // namespace
}  // namespace dcp
