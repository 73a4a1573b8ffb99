// Tensors that come as items of torch.save: those that libdcp can read, and
// those that only torch can.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/rank_threads.h"
#include "format/item_testing.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using conformance::RandomTensor;
using conformance::StateTensor;

SaveEntry EncodedEntry(const std::string& fqn, const StateTensor& shape,
                       std::string_view item) {
  SaveEntry entry =
      TensorEntry(fqn, ContiguousView(nullptr, shape.dtype, shape.sizes));
  std::get<TensorShard>(entry.value).encoded = item;
  return entry;
}

conformance::StorageUnderTest StorageOn(std::shared_ptr<FileSystem> fs,
                                        Compression compression) {
  return NativeStorage(
      NativePlace{.fs = std::move(fs), .writer = {.compression = compression}});
}

TEST_CASE("a tensor that was saved encoded is loaded as any other",
          "[checkpoint]") {
  // Read whole, by its zip directory, and, compressed, in steps.
  for (int64_t rows : {3, 700, 40000}) {
    for (auto compression : {Compression::kNone, Compression::kZstd}) {
      INFO(rows << " rows, compression " << int(compression));
      const StateTensor tensor = RandomTensor(1, DType::kFloat32, {rows, 110});
      const std::string item = RenderItem(
          {.dtype = tensor.dtype, .sizes = tensor.sizes}, 0, tensor.bytes);
      const auto fs = MakeMemoryFileSystem();
      const auto storage = StorageOn(fs, compression);
      const std::vector<SaveEntry> entries = {EncodedEntry("w", tensor, item)};
      const auto transport = MakeSingleProcessTransport();
      const auto saved = Save(entries, *storage.make_writer(), *transport, {});
      INFO(Message(saved.status()));
      REQUIRE(saved.ok());
      conformance::CheckHolds(storage, {.tensors = {{"w", tensor}}});
      const std::string path = FilesOf(*fs, "__").at(0);
      FlipBit(*fs, path, GetFile(*fs, path).size() / 2, 1);
      std::vector<conformance::Wanted> wanted =
          conformance::AllOf({.tensors = {{"w", tensor}}});
      CHECK(conformance::LoadInto(*storage.make_reader(), wanted).code() ==
            absl::StatusCode::kDataLoss);
    }
  }
}

TEST_CASE("a tensor that only torch decodes is handed over as it was saved",
          "[checkpoint]") {
  const std::string folder =
      std::string(DCP_GOLDEN_DIR) + "/torch-2.13.0-py3.11/quantized";
  const auto checkpoint = Checkpoint::Open(folder);
  REQUIRE(checkpoint.ok());
  const TensorStorageMetadata* q = (*checkpoint)->metadata().FindTensor("q");
  REQUIRE(q != nullptr);
  const Box box{.offsets = {0, 1}, .sizes = {q->size[0], q->size[1] - 1}};
  const LoadEntry entry =
      ShardLoad("q", ContiguousView(nullptr, q->properties.dtype, box.sizes),
                q->size, box.offsets);
  const auto loaded = (*checkpoint)->Read({&entry, 1});
  INFO(Message(loaded.status()));
  REQUIRE(loaded.ok());
  REQUIRE(loaded->objects.size() == 1);
  const LoadedObject& opaque = loaded->objects[0];
  CHECK(opaque.destination_box == WholeBox(box.sizes));
  CHECK(opaque.source_box == box);
  const auto parsed = ParseItem(opaque.bytes);
  REQUIRE(parsed.ok());
  CHECK(parsed->needs_torch);

  // Saved again as it is, it is the same item.
  const auto fs = MakeMemoryFileSystem();
  const auto storage = StorageOn(fs, Compression::kNone);
  const std::vector<SaveEntry> entries = {EncodedEntry(
      "q", {.dtype = q->properties.dtype, .sizes = q->size}, opaque.bytes)};
  const auto transport = MakeSingleProcessTransport();
  REQUIRE(Save(entries, *storage.make_writer(), *transport, {}).ok());
  auto copy = Checkpoint::Open(storage.make_reader());
  REQUIRE(copy.ok());
  const auto again = (*copy)->Read({&entry, 1});
  REQUIRE(again.ok());
  REQUIRE(again->objects.size() == 1);
  CHECK(again->objects[0].bytes == opaque.bytes);
}

}  // namespace
}  // namespace dcp
