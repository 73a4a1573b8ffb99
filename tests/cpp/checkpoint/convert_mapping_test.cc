// Conversions between a trainer's tensors and Hugging Face's.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/convert_cases.h"
#include "checkpoint/llama_cases.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using conformance::RandomTensor;
using conformance::State;

StatusOr<ConvertResult> ToNative(const std::shared_ptr<FileSystem>& fs,
                                 ModelMapping mapping,
                                 const std::string& source = "/hf") {
  const auto transport = MakeSingleProcessTransport();
  return Convert({.source = source,
                  .destination = "/native",
                  .io = ModestIo(IoEngineKind::kThreads)},
                 *transport, {.mapping = std::move(mapping)},
                 {.file_system = fs});
}

void CheckNative(std::shared_ptr<FileSystem> fs, const State& state) {
  NativePlace place{.fs = std::move(fs), .directory = "/native"};
  place.reader.io = ModestIo(IoEngineKind::kThreads);
  conformance::CheckHolds(NativeStorage(place), state);
}

TEST_CASE("a trained model becomes Hugging Face's and comes back bit by bit",
          "[checkpoint][convert][mapping]") {
  const int64_t heads = 4;
  const State native = Native(48, 20);
  State trained = native;
  trained.tensors["optimizer.state.x"] = RandomTensor(9, DType::kFloat32, {5});
  trained.objects["train_state.step"] = EncodeObject({0.5}).value();
  for (const bool is_ours : {true, false}) {
    const auto fs = is_ours ? Saved(trained, {}) : SavedAsStock(trained);
    const auto to_hf = ToSafetensors(
        fs, {}, {.mapping = Llama(MappingDirection::kToHuggingFace, heads)});
    DCP_CHECK_OK(to_hf.status());
    CHECK(to_hf->tensors == 4);
    CHECK(to_hf->objects == 0);
    CHECK(Place(fs, "/hf").Read("model.safetensors") ==
          WholeFile(HuggingFace(native, heads)));
    DCP_CHECK_OK(
        ToNative(fs, Llama(MappingDirection::kToNative, heads)).status());
    CheckNative(fs, native);
  }
}

TEST_CASE("a mapped tensor larger than what is read at once is right",
          "[checkpoint][convert][mapping]") {
  // 80 MB, cut within a head.
  const int64_t heads = 3;
  const State native = Native(3 * 1502, 4440);
  const bool is_compressed = GENERATE(false, true);
  const auto fs = Saved(
      native,
      {.compression = is_compressed ? Compression::kZstd : Compression::kNone});
  DCP_CHECK_OK(
      ToSafetensors(fs, {},
                    {.mapping = Llama(MappingDirection::kToHuggingFace, heads)})
          .status());
  CHECK((Place(fs, "/hf").Read("model.safetensors") ==
         WholeFile(HuggingFace(native, heads))));
  DCP_CHECK_OK(
      ToNative(fs, Llama(MappingDirection::kToNative, heads)).status());
  CheckNative(fs, native);
}

TEST_CASE("a mapped tensor is cast", "[checkpoint][convert][mapping]") {
  const auto fs = Saved(Native(8, 4), {});
  DCP_CHECK_OK(
      ToSafetensors(fs, {},
                    {.dtype = DType::kBFloat16,
                     .mapping = Llama(MappingDirection::kToHuggingFace, 2)})
          .status());
  const SafetensorsHeader header =
      HeaderOf(Place(fs, "/hf").Read("model.safetensors"));
  REQUIRE(header.tensors.size() == 4);
  for (const SafetensorsTensor& tensor : header.tensors) {
    CHECK(tensor.dtype == SafetensorsDType::kBF16);
  }
}

TEST_CASE("damage is found below a mapping", "[checkpoint][convert][mapping]") {
  const State native = Native(480, 2000);
  for (const bool is_ours : {true, false}) {
    const auto fs = is_ours ? Saved(native, {}) : SavedAsStock(native);
    const std::string file = FilesOf(*fs, "__1_").at(0);
    FlipBit(*fs, file, GetFile(*fs, file).size() / 2, 3);
    const Status failed =
        ToSafetensors(fs, {},
                      {.mapping = Llama(MappingDirection::kToHuggingFace, 4)})
            .status();
    CHECK(failed.code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(failed)), Contains("wq.weight"));
    CHECK_FALSE(fs->Exists("/hf/model.safetensors").value());
  }
}

TEST_CASE("keys are renamed and left out before they are mapped",
          "[checkpoint][convert][mapping]") {
  State nested;
  for (const auto& [name, tensor] : Native(8, 4).tensors) {
    nested.tensors["model." + name] = tensor;
  }
  nested.tensors["extra"] = RandomTensor(5, DType::kInt64, {2});
  const auto fs = Saved(nested, {});
  ConvertOptions options{.mapping = Llama(MappingDirection::kToHuggingFace, 2)};
  const Status unknown = ToSafetensors(fs, {}, options).status();
  CHECK(unknown.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(std::string(Message(unknown)), Contains("extra"));
  CHECK_FALSE(fs->Exists("/hf/model.safetensors").value());
  options.rename = [](const std::string& key) {
    return key == "extra" ? std::nullopt
                          : std::optional<std::string>(key.substr(6));
  };
  DCP_CHECK_OK(ToSafetensors(fs, {}, options).status());
  CHECK(Place(fs, "/hf").Read("model.safetensors") ==
        WholeFile(HuggingFace(Native(8, 4), 2)));
}

TEST_CASE("numbers of files for what a mapping does not make are left out",
          "[checkpoint][convert][mapping]") {
  const auto fs = Saved(Native(8, 4), {});
  DCP_CHECK_OK(
      ToSafetensors(fs,
                    {.file_numbers = {{kHfLayer + "q_proj.weight", 1},
                                      {kHfLayer + "v_proj.weight", 2},
                                      {kHfLayer + "q_proj.scale", 1},
                                      {"model.embed_tokens.weight", 2},
                                      {"lm_head.weight", 1}}},
                    {.mapping = Llama(MappingDirection::kToHuggingFace, 2)})
          .status());
  CHECK(Place(fs, "/hf").names() ==
        std::vector<std::string>{"model-00001-of-00002.safetensors",
                                 "model-00002-of-00002.safetensors",
                                 "model.safetensors.index.json"});
}

TEST_CASE("numbers of files that leave a tensor out do not count",
          "[checkpoint][convert][mapping]") {
  const auto fs = Saved(Native(8, 4), {});
  DCP_CHECK_OK(
      ToSafetensors(fs, {.file_numbers = {{kHfLayer + "q_proj.weight", 7}}},
                    {.mapping = Llama(MappingDirection::kToHuggingFace, 2)})
          .status());
  CHECK(Place(fs, "/hf").names() ==
        std::vector<std::string>{"model.safetensors"});
}

TEST_CASE("a model that may be quantized is read from the native format, too",
          "[checkpoint][convert][mapping]") {
  State hf;
  hf.tensors["lm_head.weight"] = RandomTensor(4, DType::kFloat32, {30, 10});
  const auto fs = Saved(hf, {});
  const auto mapping = MakeModelMapping(
      {.model = "gpt_oss", .direction = MappingDirection::kToNative});
  REQUIRE(mapping.ok());
  DCP_CHECK_OK(ToNative(fs, *mapping, "/ckpt").status());
  CheckNative(fs, hf);
}

TEST_CASE("a tied head comes back from the embeddings",
          "[checkpoint][convert][mapping]") {
  State native = Native(8, 4);
  native.tensors["lm_head.weight"] = native.tensors["tok_embeddings.weight"];
  const auto fs = Saved(native, {});
  ModelMapping to_hf = Llama(MappingDirection::kToHuggingFace, 2);
  to_hf.options.numbers["tie_word_embeddings"] = 1;
  DCP_CHECK_OK(ToSafetensors(fs, {}, {.mapping = to_hf}).status());
  CHECK(TensorsIn(Place(fs, "/hf")).size() == 3);
  ModelMapping back = to_hf;
  back.options.direction = MappingDirection::kToNative;
  DCP_CHECK_OK(ToNative(fs, back).status());
  CheckNative(fs, native);
  back.options.numbers.erase("tie_word_embeddings");
  CHECK_THAT(std::string(Message(ToNative(fs, back).status())),
             Contains("lm_head.weight is missing"));
}

TEST_CASE("a head that is called tied and holds other values is not lost",
          "[checkpoint][convert][mapping]") {
  State native = Native(8, 4);
  auto& head = native.tensors["lm_head.weight"];
  head = RandomTensor(3, DType::kFloat32, {90'000, 10});  // several steps
  native.tensors["tok_embeddings.weight"] = head;
  ModelMapping to_hf = Llama(MappingDirection::kToHuggingFace, 2);
  to_hf.options.numbers["tie_word_embeddings"] = 1;
  for (const bool is_ours : {true, false}) {
    const auto fs = is_ours ? Saved(native, {}) : SavedAsStock(native);
    DCP_CHECK_OK(ToSafetensors(fs, {}, {.mapping = to_hf}).status());
    CHECK(TensorsIn(Place(fs, "/hf")).size() == 3);
  }
  const conformance::StateTensor equal = head;
  head.bytes.back() = static_cast<char>(head.bytes.back() ^ 1);
  conformance::StateTensor cast = equal;
  cast.dtype = DType::kInt32;
  for (const conformance::StateTensor& other : {head, cast}) {
    head = other;
    const auto fs = Saved(native, {});
    const Status failed = ToSafetensors(fs, {}, {.mapping = to_hf}).status();
    CHECK(failed.code() == absl::StatusCode::kInvalidArgument);
    CHECK_THAT(
        std::string(Message(failed)),
        Contains("lm_head.weight and tok_embeddings.weight hold other") &&
            Contains("tie_word_embeddings"));
    CHECK_FALSE(fs->Exists("/hf/model.safetensors").value());
  }
}

TEST_CASE("an untied head that is left out is not missed",
          "[checkpoint][convert][mapping]") {
  const auto fs = Saved(Native(8, 4), {});
  DCP_CHECK_OK(
      ToSafetensors(fs, {},
                    {.mapping = Llama(MappingDirection::kToHuggingFace, 2)})
          .status());
  const auto transport = MakeSingleProcessTransport();
  ConvertOptions options{.mapping = Llama(MappingDirection::kToNative, 2)};
  options.rename = [](const std::string& key) {
    return key == "lm_head.weight" ? std::nullopt : std::optional(key);
  };
  const auto converted = Convert({.source = "/hf", .destination = "/native"},
                                 *transport, options, {.file_system = fs});
  DCP_CHECK_OK(converted.status());
  CHECK(converted->tensors == 3);
}

TEST_CASE("quantized weights of Hugging Face's are read as floats",
          "[checkpoint][convert][mapping]") {
  const auto fs = MakeMemoryFileSystem();
  DCP_CHECK_OK(fs->MakeDirectories("/hf"));
  const auto head =
      SerializeSafetensorsHeader({{.name = kHfLayer + "o_proj.weight",
                                   .dtype = SafetensorsDType::kF8E4M3,
                                   .shape = {2, 2}},
                                  {.name = kHfLayer + "o_proj.weight_scale_inv",
                                   .dtype = SafetensorsDType::kF32,
                                   .shape = {1, 1}}},
                                 {{"format", "pt"}});
  REQUIRE(head.ok());
  const float scale = 0.5F;
  std::string bytes = head->bytes;
  for (const SafetensorsTensor& tensor : head->header.tensors) {
    if (tensor.dtype == SafetensorsDType::kF32) {
      bytes.append(reinterpret_cast<const char*>(&scale), sizeof(scale));
    } else {
      bytes += "\x38\x40\x44\xb8";  // 1, 2, 3, -1
    }
  }
  PutFile(*fs, "/hf/model.safetensors", bytes);
  const auto mapping =
      MakeModelMapping({.model = "deepseek_v3",
                        .config_json = R"({"num_hidden_layers": 1})",
                        .direction = MappingDirection::kToNative});
  REQUIRE(mapping.ok());
  DCP_CHECK_OK(ToNative(fs, *mapping).status());
  const float expected[] = {0.5F, 1.0F, 1.5F, -0.5F};
  State native;
  native.tensors["layers.0.attention.wo.weight"] = {.dtype = DType::kFloat32,
                                                    .sizes = {2, 2}};
  native.tensors["layers.0.attention.wo.weight"].bytes.assign(
      reinterpret_cast<const char*>(expected), sizeof(expected));
  CheckNative(fs, native);
}

}  // namespace
}  // namespace dcp
