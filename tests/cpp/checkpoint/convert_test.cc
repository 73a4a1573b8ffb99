#include "dcp/convert.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>
#include <string>

#include "base/cast.h"
#include "checkpoint/read_ahead.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::CheckHolds;
using conformance::RandomTensor;
using conformance::SmallState;
using conformance::State;
using conformance::StorageUnderTest;
using conformance::VariedState;

StorageUnderTest NativeAt(std::shared_ptr<FileSystem> fs,
                          const std::string& directory) {
  NativePlace place{.fs = std::move(fs), .directory = directory};
  place.writer.io = place.reader.io = ModestIo(IoEngineKind::kThreads);
  return NativeStorage(place);
}

StatusOr<ConvertResult> ConvertBetween(const StorageUnderTest& from,
                                       const StorageUnderTest& to,
                                       const ConvertOptions& options = {}) {
  const auto reader = from.make_reader();
  const auto writer = to.make_writer();
  const auto transport = MakeSingleProcessTransport();
  return Convert(*reader, *writer, *transport, options);
}

/// A state with one tensor of several pieces.
State LargeState() {
  State state = SmallState(3);
  state.tensors["large"] = RandomTensor(5, DType::kFloat32, {17, 1100, 1001});
  return state;
}

TEST_CASE("a conversion carries everything over, as one chunk a tensor",
          "[checkpoint][convert]") {
  const State state = VariedState(1);
  const auto fs = Saved(state, {});
  const auto to = NativeAt(fs, "/new");
  const auto result = ConvertBetween(NativeAt(fs, "/ckpt"), to);
  DCP_CHECK_OK(result.status());
  CheckHolds(to, state);
  const auto index = to.make_reader()->ReadIndex();
  const Metadata before = ReadMetadata(*fs);
  REQUIRE(index.ok());
  const Metadata& after = index->metadata;
  CHECK(result->tensors == static_cast<int64_t>(state.tensors.size()));
  CHECK(result->objects == static_cast<int64_t>(state.objects.size()));
  REQUIRE(after.entries().size() == before.entries().size());
  for (size_t i = 0; i < after.entries().size(); ++i) {
    CHECK(after.entries()[i].first == before.entries()[i].first);
  }
  for (const auto& [fqn, tensor] : state.tensors) {
    CHECK(after.FindTensor(fqn)->chunks == std::vector{WholeBox(tensor.sizes)});
  }
}

TEST_CASE("a tensor larger than what is read at once is converted",
          "[checkpoint][convert]") {
  const State state = LargeState();
  for (const bool is_ours : {true, false}) {
    const auto fs = is_ours ? Saved(state, {}) : SavedAsStock(state);
    const auto to = NativeAt(fs, "/new");
    DCP_CHECK_OK(ConvertBetween(NativeAt(fs, "/ckpt"), to).status());
    CheckHolds(to, state);
  }
}

TEST_CASE("compressed checkpoints are converted", "[checkpoint][convert]") {
  const State state = LargeState();
  const auto fs = Saved(state, {.compression = Compression::kZstd});
  const auto to = NativeAt(fs, "/new");
  DCP_CHECK_OK(ConvertBetween(NativeAt(fs, "/ckpt"), to).status());
  CheckHolds(to, state);
}

TEST_CASE("a writer without streams gets pieces", "[checkpoint][convert]") {
  const State state = LargeState();
  const auto fs = Saved(state, {});
  NativePlace place{.fs = fs,
                    .directory = "/new",
                    .writer = {.compression = Compression::kZstd}};
  DCP_CHECK_OK(
      ConvertBetween(NativeAt(fs, "/ckpt"), NativeStorage(place)).status());
  CheckHolds(NativeStorage(place), state);
  const auto index = NativeStorage(place).make_reader()->ReadIndex();
  REQUIRE(index.ok());
  CHECK(index->metadata.FindTensor("large")->chunks.size() == 2);
  CHECK(index->metadata.FindTensor("weight")->chunks.size() == 1);
}

TEST_CASE("floating-point tensors are cast, others stay",
          "[checkpoint][convert]") {
  State state;
  state.tensors["f"] = {.dtype = DType::kFloat32, .sizes = {3}};
  const float values[] = {1.0F, -2.5F, 3.14159F};
  state.tensors["f"].bytes.assign(reinterpret_cast<const char*>(values),
                                  sizeof(values));
  state.tensors["i"] = RandomTensor(2, DType::kInt64, {4});
  const auto fs = Saved(state, {});
  const auto to = NativeAt(fs, "/new");
  const auto result =
      ConvertBetween(NativeAt(fs, "/ckpt"), to, {.dtype = DType::kBFloat16});
  DCP_CHECK_OK(result.status());
  CHECK(result->nbytes == 3 * 2 + 4 * 8);
  std::string cast(6, '\0');
  CastElements(DType::kFloat32, reinterpret_cast<const std::byte*>(values),
               DType::kBFloat16, reinterpret_cast<std::byte*>(cast.data()), 3);
  state.tensors["f"] = {.dtype = DType::kBFloat16, .sizes = {3}, .bytes = cast};
  CheckHolds(to, state);
  CHECK(ConvertBetween(NativeAt(fs, "/ckpt"), to, {.dtype = DType::kInt32})
            .status()
            .code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("what is damaged is not converted", "[checkpoint][convert]") {
  const State state = LargeState();
  for (const bool is_ours : {true, false}) {
    const auto fs = is_ours ? Saved(state, {}) : SavedAsStock(state);
    const auto to = NativeAt(fs, "/new");
    const std::string file = FilesOf(*fs, "__1_").at(0);
    FlipBit(*fs, file, GetFile(*fs, file).size() / 2, 3);
    const Status failed = ConvertBetween(NativeAt(fs, "/ckpt"), to).status();
    CHECK(failed.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(failed)), Contains("large"));
    CHECK(to.make_reader()->ReadIndex().status().code() ==
          absl::StatusCode::kNotFound);
  }
}

TEST_CASE("progress is told, and its error ends a conversion",
          "[checkpoint][convert]") {
  const State state = LargeState();
  const auto fs = Saved(state, {});
  const auto to = NativeAt(fs, "/new");
  int64_t last = 0;
  int64_t total = 0;
  DCP_CHECK_OK(ConvertBetween(NativeAt(fs, "/ckpt"), to,
                              {.progress =
                                   [&](const ConvertProgress& now) {
                                     CHECK(now.nbytes_done >= last);
                                     last = now.nbytes_done;
                                     total = now.nbytes_total;
                                     return absl::OkStatus();
                                   }})
                   .status());
  CHECK(last == total);
  CHECK(total > 17 * 1100 * 1001 * 4);
  const Status stopped =
      ConvertBetween(NativeAt(fs, "/ckpt"), to,
                     {.progress =
                          [](const ConvertProgress&) {
                            return FailedPrecondition("enough");
                          }})
          .status();
  CHECK(stopped.code() == absl::StatusCode::kFailedPrecondition);
  CheckHolds(to, state);
}

TEST_CASE("a torch file has what a checkpoint had, and back",
          "[checkpoint][convert]") {
  State state = LargeState();
  // A dict would become keys of its own.
  state.objects = {{"rate", EncodeObject({0.5}).value()}};
  for (const auto& [fqn, tensor] : VariedState(2).tensors) {
    state.tensors.emplace(fqn, tensor);
  }
  const auto fs = Saved(state, {});
  const StorageEnvironment seams{.file_system = fs};
  const auto transport = MakeSingleProcessTransport();
  const IoOptions io = ModestIo(IoEngineKind::kThreads);
  DCP_CHECK_OK(Convert({.source = "/ckpt", .destination = "/m.pt", .io = io},
                       *transport, {}, seams)
                   .status());
  DCP_CHECK_OK(Convert({.source = "/m.pt", .destination = "/new", .io = io},
                       *transport, {}, seams)
                   .status());
  NativePlace place{.fs = fs, .directory = "/new"};
  place.reader.io = io;
  std::vector<conformance::Wanted> wanted = conformance::AllOf(state);
  DCP_CHECK_OK(
      conformance::LoadInto(*NativeStorage(place).make_reader(), wanted));
  CHECK(AllRight(state, wanted));
  CHECK(fs->List("/").value().size() == 3);  // nothing is left over
}

TEST_CASE("source and destination are two", "[checkpoint][convert]") {
  const auto fs = Saved(SmallState(1), {});
  const auto transport = MakeSingleProcessTransport();
  const Status same = Convert({.source = "/ckpt", .destination = "/ckpt"},
                              *transport, {}, {.file_system = fs})
                          .status();
  CHECK(same.code() == absl::StatusCode::kInvalidArgument);
}

TEST_CASE("the name of a file tells the format", "[checkpoint][convert]") {
  CHECK(GuessCheckpointFormat("a/b.pt") == CheckpointFormat::kTorch);
  CHECK(GuessCheckpointFormat("pytorch_model.bin") == CheckpointFormat::kTorch);
  CHECK(GuessCheckpointFormat("step-7") == CheckpointFormat::kDcp);
}

TEST_CASE("reading ahead serves bytes in any order", "[checkpoint][convert]") {
  State state;
  state.tensors["a"] = RandomTensor(1, DType::kFloat32, {100, 30});
  state.tensors["b"] = RandomTensor(2, DType::kInt8, {7001});
  state.tensors["none"] = RandomTensor(3, DType::kInt8, {0, 4});
  const auto fs = Saved(state, {});
  const auto reader = NativeAt(fs, "/ckpt").make_reader();
  const auto index = reader->ReadIndex();
  REQUIRE(index.ok());
  DCP_CHECK_OK(reader->SetUp(*index, {}));
  std::vector<SourceTensor> tensors;
  for (const auto& [fqn, tensor] : state.tensors) {
    tensors.push_back({.fqn = fqn,
                       .stored = index->metadata.FindTensor(fqn),
                       .dtype = tensor.dtype});
  }
  const bool forward = GENERATE(true, false);
  PieceReader pieces(*reader, {});
  ReadAhead ahead(tensors, pieces, {.batch_nbytes = 512, .max_nbytes = 2048});
  DCP_CHECK_OK(ahead.Start());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t t = forward ? i : tensors.size() - 1 - i;
    const std::string& expected =
        state.tensors.at(std::string(tensors[t].fqn)).bytes;
    std::string bytes(expected.size(), '?');
    constexpr size_t kStep = 700;
    for (size_t at = 0; at < bytes.size(); at += kStep) {
      const size_t begin =
          forward ? at : (bytes.size() - 1 - at) / kStep * kStep;
      const size_t nbytes = std::min(kStep, bytes.size() - begin);
      DCP_CHECK_OK(ahead.Read(
          t, static_cast<int64_t>(begin),
          std::as_writable_bytes(std::span(bytes).subspan(begin, nbytes))));
    }
    CHECK((bytes == expected));
  }
  CHECK(ahead.nbytes_taken() == 100 * 30 * 4 + 7001);
}

}  // namespace
}  // namespace dcp
