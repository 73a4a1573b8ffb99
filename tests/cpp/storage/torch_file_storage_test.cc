#include "dcp/torch_file_storage.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "format/object_item.h"
#include "format/pickle_builder.h"
#include "storage/damage.h"
#include "testing/fault_injection_file_system.h"
#include "testing/temp_directory.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::RandomTensor;
using conformance::SaveRun;
using conformance::State;
using conformance::StorageUnderTest;
using conformance::VariedState;
using conformance::WholeState;

StorageUnderTest TorchFileAt(std::shared_ptr<FileSystem> fs,
                             const std::string& path) {
  const IoOptions io = ModestIo(IoEngineKind::kThreads);
  return {.make_writer =
              [=] {
                return MakeTorchFileWriter({.path = path, .io = io},
                                           {.file_system = fs});
              },
          .make_reader =
              [=] {
                return MakeTorchFileReader({.path = path, .io = io},
                                           {.file_system = fs});
              }};
}

State TensorsOf(State state) {
  state.objects.clear();
  return state;
}

TEST_CASE("a torch file holds what was saved", "[storage][torch_file]") {
  const testing::TempDirectory temp;
  for (const auto& [fs, path] :
       {std::pair(MakeMemoryFileSystem(), std::string("/m.pt")),
        std::pair(MakePosixFileSystem(), temp.path() + "/m.pt")}) {
    const StorageUnderTest file = TorchFileAt(fs, path);
    for (uint64_t seed : {1, 2}) {  // the second replaces the first
      const State state = TensorsOf(VariedState(seed));
      DCP_CHECK_OK(SaveRun(file, state, WholeState(state)).Run());
      CheckHolds(file, state);
    }
  }
  CHECK(MakePosixFileSystem()->List(temp.path()).value().size() == 1);
}

TEST_CASE("objects of a torch file have their values",
          "[storage][torch_file]") {
  State state = conformance::SmallState(1);
  const auto fs = MakeMemoryFileSystem();
  const StorageUnderTest file = TorchFileAt(fs, "/m.pt");
  DCP_CHECK_OK(SaveRun(file, state, WholeState(state)).Run());
  // Dicts within the object have become keys of their own.
  const auto checkpoint = Checkpoint::Open(file.make_reader());
  REQUIRE(checkpoint.ok());
  const auto name = (*checkpoint)->ReadObject("step.name");
  REQUIRE(name.ok());
  CHECK(DecodeObject(*name).value() == ObjectValue{std::string("run")});
}

TEST_CASE("parts of tensors and several ranks are refused",
          "[storage][torch_file]") {
  const State state = TensorsOf(conformance::SmallState(1));
  const auto fs = MakeMemoryFileSystem();
  SaveRun ranks(TorchFileAt(fs, "/m.pt"), state,
                conformance::ShardedState(state, 2));
  CHECK(ranks.Plan().code() == absl::StatusCode::kUnimplemented);
  CHECK(fs->List("/").value().empty());
}

TEST_CASE("a save that fails leaves the file that was there",
          "[storage][torch_file]") {
  const State old = TensorsOf(VariedState(1));
  const State state = TensorsOf(VariedState(2));
  auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(SaveRun(TorchFileAt(fs, "/m.pt"), old, WholeState(old)).Run());
  SaveRun run(TorchFileAt(fs, "/m.pt"), state, WholeState(state));
  DCP_CHECK_OK(run.Plan());
  DCP_CHECK_OK(run.Write());
  CheckHolds(TorchFileAt(fs, "/m.pt"), old);
  run.Abort();
  CheckHolds(TorchFileAt(fs, "/m.pt"), old);
  CHECK(fs->List("/").value().size() == 1);
}

TEST_CASE("what is no torch file, or a damaged one, is said to be so",
          "[storage][torch_file]") {
  const State state = TensorsOf(VariedState(1));
  auto fs = MakeMemoryFileSystem();
  const StorageUnderTest file = TorchFileAt(fs, "/m.pt");
  CHECK(file.make_reader()->ReadIndex().status().code() ==
        absl::StatusCode::kNotFound);
  DCP_CHECK_OK(SaveRun(file, state, WholeState(state)).Run());
  const std::string bytes = GetFile(*fs, "/m.pt");

  PutFile(*fs, "/m.pt", bytes.substr(0, bytes.size() / 2));
  Status bad = file.make_reader()->ReadIndex().status();
  CHECK(bad.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(bad)), Contains("/m.pt"));

  PutFile(*fs, "/m.pt", "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 \x6a\xa8P\x19.");
  bad = file.make_reader()->ReadIndex().status();
  CHECK(bad.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(bad)), Contains("before 1.6"));

  PutFile(*fs, "/m.pt", bytes);
  FlipBit(*fs, "/m.pt", bytes.size() / 2, 1);  // within the tensor "large"
  std::vector<conformance::Wanted> wanted = conformance::AllOf(state);
  bad = conformance::LoadInto(*file.make_reader(), wanted);
  CHECK(bad.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(bad)), Contains("CRC-32"));
}

TEST_CASE("a torch file that calls what no checkpoint needs is refused",
          "[storage][torch_file]") {
  PickleWriter out(PickleProtocol::k2, 64);
  out.Op(PickleOp::kEmptyDict);
  out.String("x");
  out.Global("posix", "system");
  out.String("touch /tmp/pwned");
  out.Ops({PickleOp::kTuple1, PickleOp::kReduce, PickleOp::kSetItem});
  auto fs = MakeMemoryFileSystem();
  PutFile(*fs, "/m.pt", EncodePickleItem(std::move(out).Finish(), {}));
  const Status bad =
      TorchFileAt(fs, "/m.pt").make_reader()->ReadIndex().status();
  CHECK(bad.code() == absl::StatusCode::kDataLoss);
  CHECK_THAT(std::string(Message(bad)), Contains("may be an attack"));
}

/// A file whose tensor "t" of `sizes` and `strides` lies in `storage`.
std::string FileOf(const std::string& storage, const Dims& sizes,
                   const Dims& strides, int64_t offset) {
  PickleWriter out(PickleProtocol::k2, 64);
  const auto ints = [&](const Dims& dims) {
    out.Op(PickleOp::kMark);
    for (const int64_t value : dims) out.Int(value);
    out.Op(PickleOp::kTuple);
  };
  out.Op(PickleOp::kEmptyDict);
  out.String("t");
  out.Global("torch._utils", "_rebuild_tensor_v2");
  out.Ops({PickleOp::kMark, PickleOp::kMark});
  out.String("storage");
  out.Global("torch", "ShortStorage");
  out.String("0");
  out.String("cpu");
  out.Int(static_cast<int64_t>(storage.size() / 2));
  out.Ops({PickleOp::kTuple, PickleOp::kBinPersId});
  out.Int(offset);
  ints(sizes);
  ints(strides);
  out.Bool(true);
  out.None();
  out.Ops({PickleOp::kTuple, PickleOp::kReduce, PickleOp::kSetItem});
  return EncodePickleItem(std::move(out).Finish(), {&storage, 1});
}

TEST_CASE("views of a storage are read by their strides",
          "[storage][torch_file]") {
  const std::string storage = conformance::RandomBytes(1, 2 * 1000);
  const auto element = [&](int64_t place) {
    return storage.substr(static_cast<size_t>(2 * place), 2);
  };
  struct View {
    Dims sizes;
    Dims strides;
    int64_t offset;
  };
  const View view = GENERATE(View{{10, 100}, {100, 1}, 0},  // all of it
                             View{{100, 10}, {1, 100}, 0},  // transposed
                             View{{3, 10}, {10, 1}, 50},    // a run
                             View{{10, 7}, {100, 1}, 20},   // with gaps
                             View{{5, 4, 3}, {200, 0, 7}, 3});
  auto fs = MakeMemoryFileSystem();
  PutFile(*fs, "/m.pt", FileOf(storage, view.sizes, view.strides, view.offset));
  State state;
  state.tensors["t"] = {.dtype = DType::kInt16, .sizes = view.sizes};
  const Dims strides = ContiguousStrides(view.sizes);
  for (int64_t i = 0; i < Numel(view.sizes); ++i) {
    int64_t place = view.offset;
    for (int d = 0; d < view.sizes.size(); ++d) {
      place += i / strides[d] % view.sizes[d] * view.strides[d];
    }
    state.tensors["t"].bytes += element(place);
  }
  const StorageUnderTest file = TorchFileAt(fs, "/m.pt");
  CheckHolds(file, state);
  const auto index = file.make_reader()->ReadIndex();
  REQUIRE(index.ok());
  CHECK(index->metadata.FindTensor("t")->properties.requires_grad);
}

}  // namespace
}  // namespace dcp
