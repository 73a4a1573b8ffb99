// A directory of safetensors files, one of which is anything: what can be
// opened can be read, floats made of quantized tensors included.

#include <memory>
#include <string_view>
#include <variant>

#include "dcp/checkpoint.h"
#include "dcp/hugging_face_storage.h"
#include "format/safetensors_header.h"
#include "format/safetensors_index.h"
#include "fuzz/fuzz_target.h"

namespace dcp {
namespace {

constexpr std::string_view kDirectory = "/m";
// First byte of an input: which file the rest replaces.
constexpr char kIndex = 'I';
constexpr char kFile = 'F';
constexpr char kPart = 'P';

const IoOptions kIo{.engine = IoEngineKind::kThreads,
                    .direct_io = DirectIo::kOff,
                    .workers = 1};

SafetensorsTensor Tensor(std::string name, SafetensorsDType dtype, Dims shape) {
  return {.name = std::move(name), .dtype = dtype, .shape = std::move(shape)};
}

std::string FileOf(std::vector<SafetensorsTensor> tensors,
                   std::map<std::string, std::string> metadata) {
  auto head = SerializeSafetensorsHeader(std::move(tensors), metadata);
  Require(head.ok(), "a header can be written");
  std::string bytes = head->bytes;
  const int64_t nbytes = SafetensorsFileNbytes(head->header);
  for (int64_t i = std::ssize(bytes); i < nbytes; ++i) {
    bytes.push_back(static_cast<char>(i * 31));
  }
  return bytes;
}

std::string GoodFile() {
  return FileOf({Tensor("w.weight", SafetensorsDType::kF8E4M3, {20, 9}),
                 Tensor("w.weight_scale_inv", SafetensorsDType::kF32, {2, 1}),
                 Tensor("e_blocks", SafetensorsDType::kU8, {2, 3, 4}),
                 Tensor("e_scales", SafetensorsDType::kU8, {2, 3}),
                 Tensor("f4", SafetensorsDType::kF4, {3, 4})},
                {{"format", "pt"}});
}

std::string GoodPart(const std::string& offsets) {
  return FileOf(
      {Tensor("r", SafetensorsDType::kBF16, {2, 5})},
      {{"DCP_SHARDING_INFO", R"({"r": {"saved_offsets": )" + offsets + "}}"}});
}

std::string GoodIndex() {
  const auto text = SerializeSafetensorsIndex(
      {.total_size = 300,
       .weight_map = {{"w.weight", "a.safetensors"},
                      {"w.weight_scale_inv", "a.safetensors"}}});
  Require(text.ok(), "an index can be written");
  return *text;
}

void Put(FileSystem& fs, std::string_view name, std::string_view bytes) {
  const std::string path = JoinPath(kDirectory, name);
  Require(WriteFile(fs, path, bytes, SyncMode::kNone).ok(),
          "memory can be written");
}

/// Reads all tensors that are not large.
void ReadAll(std::unique_ptr<StorageReader> reader) {
  auto opened = Checkpoint::Open(std::move(reader));
  if (!opened.ok()) return;
  for (const auto& [key, entry] : (*opened)->metadata().entries()) {
    const auto& tensor = std::get<TensorStorageMetadata>(entry);
    const auto numel = CheckedNumel(tensor.size);
    if (!numel || *numel > (1 << 16)) continue;
    const DType dtype = tensor.properties.dtype;
    std::string memory(static_cast<size_t>(*numel * ItemSize(dtype)), '?');
    const Box all{.offsets = Dims::Filled(tensor.size.size(), 0),
                  .sizes = tensor.size};
    const Status read = (*opened)->ReadTensor(
        key, all, ContiguousView(memory.data(), dtype, tensor.size));
    const bool whole = tensor.chunks.size() == 1;
    Require(read.ok() || !whole, "what a header promises is there");
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {kIndex + GoodIndex(), kFile + GoodFile(), kPart + GoodPart("[2, 0]")};
}
std::vector<std::string> FuzzDictionary() {
  return {"a.safetensors", "../",           "w.weight",  "w.weight_scale_inv",
          "data_offsets",  "saved_offsets", "F8_E4M3",   "e_blocks",
          "e_scales",      "__metadata__",  "weight_map"};
}

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const std::string_view rest = input.substr(1);
  const std::shared_ptr<dcp::FileSystem> fs = dcp::MakeMemoryFileSystem();
  dcp::Require(fs->MakeDirectories(std::string(dcp::kDirectory)).ok(),
               "memory has room");
  if (input[0] == dcp::kPart) {
    dcp::Put(*fs, "shard-00001-model-00001-of-00001.safetensors",
             dcp::GoodPart("[0, 0]"));
    dcp::Put(*fs, "shard-00002-model-00001-of-00001.safetensors", rest);
  } else {
    const bool is_file = input[0] == dcp::kFile;
    dcp::Put(*fs, "a.safetensors", is_file ? rest : dcp::GoodFile());
    if (!is_file) dcp::Put(*fs, dcp::kSafetensorsIndexName, rest);
  }
  const std::string path(dcp::kDirectory);
  dcp::ReadAll(dcp::MakeHuggingFaceReader({.path = path, .io = dcp::kIo},
                                          {.file_system = fs}));
  dcp::ReadAll(dcp::MakeHuggingFaceReader(
      {.path = path,
       .dequantize = dcp::DequantizeOptions{.block_size = 16},
       .io = dcp::kIo},
      {.file_system = fs}));
  return 0;
}
