#include "checkpoint/save_order.h"

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "checkpoint/order_entries.h"
#include "checkpoint/save_answer.h"
#include "conformance/check_files.h"

namespace dcp {
namespace {

const IoOptions kIo{.engine = IoEngineKind::kThreads,
                    .direct_io = DirectIo::kOff,
                    .workers = 2,
                    .max_write_rate = 1000,
                    .placement = {.nice = 5, .cpus = {0, 7}}};

struct Case {
  Case() {
    std::byte* const at = reinterpret_cast<std::byte*>(memory.data());
    TensorShard shard{.view = {.data = at + 128,
                               .dtype = DType::kComplex64,
                               .sizes = {3, 5},
                               .strides = {1, 3},
                               .op = ElementOp::kConj},
                      .global_size = {3, 50},
                      .offsets = {0, 45},
                      .type = WriteItemType::kShard,
                      .requires_grad = true};
    shard.layout = std::make_shared<MeshLayout>(MeshLayout{
        .mesh = std::make_shared<DeviceMesh>(
            DeviceMesh{.sizes = {2, 2}, .ranks = {0, 2, 1, 3}}),
        .placements = {Placement::Shard(1), Placement::StridedShard(1, 2)},
        .coordinate = {1, 0}});
    TensorShard backward{.view = {.data = at + 256,
                                  .dtype = DType::kInt16,
                                  .sizes = {4},
                                  .strides = {-2}},
                         .global_size = {4},
                         .offsets = {0}};
    TensorShard expanded = backward;
    expanded.view.strides = {0};
    TensorShard empty{.view = {.sizes = {0, 2}, .strides = {2, 1}},
                      .global_size = {0, 2},
                      .offsets = {0, 0}};
    TensorShard encoded{.view = {.sizes = {7}, .strides = {1}},
                        .global_size = {7},
                        .offsets = {0}};
    encoded.encoded = std::string_view(memory).substr(300, 20);
    const std::string object = "the bytes of an object";
    entries = {{.fqn = "a", .value = shard, .path = {"a", int64_t{3}}},
               {.fqn = "b", .value = backward},
               {.fqn = "c", .value = expanded},
               {.fqn = "d", .value = empty},
               {.fqn = "e", .value = encoded},
               {.fqn = "f", .value = SerializedObject{object}}};
  }

  std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(memory));
  }
  std::span<std::byte> writable() {
    return std::as_writable_bytes(std::span(memory));
  }
  std::string Serialized() const {
    return SerializeSaveOrder(order, entries, bytes());
  }

  std::string memory = std::string(512, 'x');
  std::vector<SaveEntry> entries;
  SaveOrder order{
      .rank = 2,
      .world_size = 5,
      .coordinator = 1,
      .patience = std::chrono::seconds(7),
      .umask = 027,
      .memory_offset = 8192,
      .memory_nbytes = 512,
      .writer = FileSystemWriterOptions{.path = "/ckpt",
                                        .save_id = "dcpcpp-1",
                                        .session_id = "dcpcpp-2",
                                        .sync_files = false,
                                        .file_count = 3,
                                        .overwrite = false,
                                        .compression = Compression::kZstd,
                                        .export_dtype = DType::kBFloat16,
                                        .checkpoint_id = "ckpt",
                                        .io = kIo},
      .save = {.dedup_to_lowest_rank = true, .use_collectives = false}};
};

TEST_CASE("an order arrives as it was given", "[order]") {
  Case given;
  const std::string sent = given.Serialized();
  const auto parsed = ParseSaveOrder(sent);
  REQUIRE(parsed.ok());
  const SaveOrder& order = parsed->order;
  CHECK(order.rank == 2);
  CHECK(order.world_size == 5);
  CHECK(order.coordinator == 1);
  CHECK(order.patience == std::chrono::seconds(7));
  CHECK(order.umask == 027);
  CHECK(order.memory_offset == 8192);
  CHECK(order.memory_nbytes == 512);
  CHECK(order.session_id() == "dcpcpp-2");
  CHECK(std::get<FileSystemWriterOptions>(order.writer).export_dtype ==
        DType::kBFloat16);
  CHECK(order.io().max_write_rate == 1000);
  CHECK(order.io().placement == kIo.placement);
  CHECK_FALSE(order.save.use_collectives);

  // The memory lies elsewhere in the process that reads it.
  Case there;
  const auto entries = ParseOrderEntries(parsed->entries, there.writable());
  REQUIRE(entries.ok());
  CHECK(SerializeSaveOrder(order, *entries, there.bytes()) == sent);
  const auto& shard = std::get<TensorShard>(entries->at(0).value);
  CHECK(shard.view.data == there.memory.data() + 128);
  CHECK(shard.view.op == ElementOp::kConj);
  REQUIRE(shard.layout != nullptr);
  CHECK(shard.layout->mesh->ranks == std::vector<uint32_t>{0, 2, 1, 3});
  CHECK(shard.layout->mesh->sizes == Dims{2, 2});
  CHECK(shard.layout->placements[1] == Placement::StridedShard(1, 2));
  CHECK(shard.layout->coordinate == Dims{1, 0});
  CHECK(std::get<TensorShard>(entries->at(1).value).layout == nullptr);
  CHECK(entries->at(0).path == ObjectPath{"a", int64_t{3}});
  const auto& encoded = std::get<TensorShard>(entries->at(4).value);
  CHECK(encoded.encoded->data() == there.memory.data() + 300);
}

TEST_CASE("an order of safetensors arrives as it was given", "[order]") {
  Case given;
  given.order.writer =
      HuggingFaceWriterOptions{.path = "/hf",
                               .file_numbers = {{"a", 2}, {"b", 1}},
                               .max_shard_nbytes = 1000,
                               .file_stem = "flux",
                               .export_dtype = DType::kFloat16,
                               .one_writer_per_file = true,
                               .file_per_rank = true,
                               .overwrite = false,
                               .sync_files = false,
                               .save_id = "dcpcpp-3",
                               .session_id = "dcpcpp-4",
                               .io = kIo};
  const std::string sent = given.Serialized();
  const auto parsed = ParseSaveOrder(sent);
  REQUIRE(parsed.ok());
  const SaveOrder& order = parsed->order;
  CHECK(order.path() == "/hf");
  CHECK(order.session_id() == "dcpcpp-4");
  CHECK_FALSE(order.sync_files());
  const auto& writer = std::get<HuggingFaceWriterOptions>(order.writer);
  CHECK(writer.file_numbers.at("a") == 2);
  CHECK(writer.file_stem == "flux");
  CHECK(writer.export_dtype == DType::kFloat16);
  CHECK(writer.one_writer_per_file);
  CHECK(writer.file_per_rank);
  CHECK(SerializeSaveOrder(order, given.entries, given.bytes()) == sent);
}

TEST_CASE("a tensor beyond the memory is refused", "[order]") {
  Case given;
  const std::string sent = given.Serialized();
  const auto parsed = ParseSaveOrder(sent);
  REQUIRE(parsed.ok());
  // The last tensor that is looked at ends at 320.
  for (const size_t nbytes : {319, 300, 258, 247, 127, 0}) {
    const auto entries =
        ParseOrderEntries(parsed->entries, given.writable().first(nbytes));
    CHECK(entries.status().code() == absl::StatusCode::kDataLoss);
  }
  CHECK(ParseOrderEntries(parsed->entries, given.writable().first(320)).ok());
}

TEST_CASE("a garbled order is refused, or is one", "[order]") {
  Case given;
  const std::string sent = given.Serialized();
  for (size_t nbytes = 0; nbytes < sent.size(); ++nbytes) {
    CHECK_FALSE(ParseSaveOrder(std::string_view(sent).substr(0, nbytes)).ok());
  }
  std::minstd_rand random(1);
  for (int trial = 0; trial < 20'000; ++trial) {
    std::string garbled = sent;
    garbled[random() % sent.size()] = static_cast<char>(random());
    const auto parsed = ParseSaveOrder(garbled);
    if (!parsed.ok()) continue;
    const auto entries = ParseOrderEntries(parsed->entries, given.writable());
    if (entries.ok()) {
      (void)SerializeSaveOrder(parsed->order, *entries, given.bytes());
    }
  }
}

TEST_CASE("an answer arrives as it was given", "[order]") {
  const TraceSpan span{.name = "write",
                       .begin = std::chrono::nanoseconds(5),
                       .end = std::chrono::nanoseconds(9),
                       .thread = 7,
                       .nbytes = 100};
  const auto done = ParseSaveAnswer(
      SerializeSaveAnswer(SaveResult{.metadata_pickle = "pickle"}, {&span, 1}));
  REQUIRE(done.ok());
  CHECK(done->result->metadata_pickle == "pickle");
  REQUIRE(done->spans.size() == 1);
  CHECK(std::string(done->spans[0].name) == "write");
  CHECK(done->spans[0].end == span.end);
  CHECK(done->spans[0].nbytes == 100);

  const Status failed = MakeRankFailures(
      {.phase = "write",
       .by_rank = {{3, ErrnoToStatus(28, {.op = "pwrite", .path = "/f"})}}});
  const std::string sent = SerializeSaveAnswer(failed, {});
  const auto failure = ParseSaveAnswer(sent);
  REQUIRE(failure.ok());
  CHECK(failure->result.status() == failed);
  for (size_t nbytes = 0; nbytes < sent.size(); ++nbytes) {
    CHECK_FALSE(ParseSaveAnswer(std::string_view(sent).substr(0, nbytes)).ok());
  }
}

}  // namespace
}  // namespace dcp
