// list_and_load CHECKPOINT [RANKS]
//
// Prints what a checkpoint holds, whoever wrote it (a PyTorch FSDP2 run, say),
// then loads it a second time as RANKS ranks would that shard every tensor
// over its first dimension, and checks that the parts are the whole. No Python
// and no libtorch take part.
//
//   tensor model.weight float32 [8, 4] 9ae16a3b2f90404f
//   object step 7
//   resharded over 3 ranks: the same bytes
//
// The last column of a tensor is the 64-bit FNV-1a hash of its bytes, row by
// row.

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dcp/checkpoint.h"
#include "ranks.h"

namespace {

struct LoadedTensor {
  dcp::DType dtype;
  dcp::Dims global_size;
  std::vector<std::byte> bytes;  // of what this rank holds
};
using TensorMap = std::map<std::string, LoadedTensor>;

/// What rank `rank` of `world_size` holds of a tensor: an even share of its
/// rows, as FSDP2 and torch.chunk cut them; all of a tensor without dimensions.
dcp::Box ShareOf(const dcp::Dims& global_size, int rank, int world_size) {
  dcp::Box box = dcp::WholeBox(global_size);
  if (global_size.empty()) return box;
  const int64_t rows = global_size[0];
  const int64_t each = (rows + world_size - 1) / world_size;
  box.offsets[0] = std::min(rows, each * rank);
  box.sizes[0] = std::min(rows, each * (rank + 1)) - box.offsets[0];
  return box;
}

/// Asks for this rank's share of every tensor, and for all objects.
///
/// A trainer that knows its state passes a fixed list of entries; this program
/// finds out what there is: MakeEntries is called once the metadata was read,
/// on every rank, and before any data is.
class ShareOfEverything : public dcp::LoadRequest {
 public:
  ShareOfEverything(int rank, int world_size)
      : rank_(rank), world_size_(world_size) {}

  dcp::StatusOr<std::vector<dcp::LoadEntry>> MakeEntries(
      const dcp::Metadata& metadata) override {
    std::vector<dcp::LoadEntry> entries;
    for (const auto& [fqn, stored] : metadata.entries()) {
      names.push_back(fqn);
      const auto* tensor = std::get_if<dcp::TensorStorageMetadata>(&stored);
      if (tensor == nullptr) {
        entries.push_back(dcp::ObjectLoad(fqn));
        continue;
      }
      const dcp::Box box = ShareOf(tensor->size, rank_, world_size_);
      LoadedTensor& loaded = tensors[fqn];
      loaded.dtype = tensor->properties.dtype;
      loaded.global_size = tensor->size;
      loaded.bytes.resize(
          static_cast<size_t>(box.numel() * dcp::ItemSize(loaded.dtype)));
      // libdcp writes into the buffer; it must stay where it is until Load
      // returns, and a std::map's values do.
      entries.push_back(dcp::ShardLoad(
          fqn,
          dcp::ContiguousView(loaded.bytes.data(), loaded.dtype, box.sizes),
          tensor->size, box.offsets));
    }
    return entries;
  }

  std::vector<std::string> names;  // of each entry
  TensorMap tensors;

 private:
  const int rank_;
  const int world_size_;
};

uint64_t Fnv1a(const std::vector<std::byte>& bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : bytes) {
    hash = (hash ^ static_cast<uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

/// Numbers and strings as they are; other Python values by their kind.
std::string Describe(const std::string& object) {
  const auto value = dcp::DecodeObject(object);
  if (!value.ok()) return "(a Python object that C++ cannot read)";
  if (const auto* flag = std::get_if<bool>(&value->value)) {
    return *flag ? "True" : "False";
  }
  if (const auto* number = std::get_if<int64_t>(&value->value)) {
    return std::to_string(*number);
  }
  if (const auto* number = std::get_if<double>(&value->value)) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", *number);
    return text;
  }
  if (const auto* text = std::get_if<std::string>(&value->value)) return *text;
  if (std::holds_alternative<dcp::ObjectNone>(value->value)) return "None";
  return "(a container)";
}

/// The plain load: one process, everything.
dcp::StatusOr<TensorMap> PrintAll(const std::string& path) {
  ShareOfEverything request(0, 1);
  const auto reader = dcp::MakeFileSystemReader({.path = path});
  const auto transport = dcp::MakeSingleProcessTransport();
  DCP_ASSIGN_OR_RETURN(const dcp::LoadResult result,
                       dcp::Load(request, *reader, *transport, {}));
  for (const auto& [fqn, tensor] : request.tensors) {
    std::printf("tensor %s %s %s %016" PRIx64 "\n", fqn.c_str(),
                std::string(dcp::DTypeName(tensor.dtype)).c_str(),
                dcp::ToString(tensor.global_size).c_str(), Fnv1a(tensor.bytes));
  }
  for (const dcp::LoadedObject& object : result.objects) {
    const std::string& fqn = request.names[static_cast<size_t>(object.entry)];
    std::printf("object %s %s\n", fqn.c_str(), Describe(object.bytes).c_str());
  }
  return std::move(request.tensors);
}

/// The load of a job: all ranks call Load together, each with its own reader.
dcp::Status LoadResharded(const std::string& path, int world_size,
                          std::vector<TensorMap>* shares) {
  shares->resize(static_cast<size_t>(world_size));
  return examples::RunRanks(world_size, [&](dcp::Transport& transport) {
    ShareOfEverything request(transport.rank(), world_size);
    const auto reader = dcp::MakeFileSystemReader({.path = path});
    const dcp::Status status =
        dcp::Load(request, *reader, transport, {}).status();
    (*shares)[static_cast<size_t>(transport.rank())] =
        std::move(request.tensors);
    return status;
  });
}

/// Rows were cut in order, so the whole is its parts one after another.
dcp::Status CheckShares(const TensorMap& whole,
                        const std::vector<TensorMap>& shares) {
  for (const auto& [fqn, tensor] : whole) {
    std::vector<std::byte> joined;
    for (const TensorMap& share : shares) {
      const std::vector<std::byte>& part = share.at(fqn).bytes;
      if (tensor.global_size.empty()) joined.clear();  // every rank has it all
      joined.insert(joined.end(), part.begin(), part.end());
    }
    if (joined != tensor.bytes) {
      return dcp::Internal(fqn + " differs when it is loaded in parts");
    }
  }
  return {};
}

dcp::Status Run(const std::string& path, int world_size) {
  DCP_ASSIGN_OR_RETURN(const TensorMap whole, PrintAll(path));
  std::vector<TensorMap> shares;
  DCP_RETURN_IF_ERROR(LoadResharded(path, world_size, &shares));
  DCP_RETURN_IF_ERROR(CheckShares(whole, shares));
  std::printf("resharded over %d ranks: the same bytes\n", world_size);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const int world_size = argc > 2 ? std::atoi(argv[2]) : 3;
  if (argc < 2 || world_size < 1) {
    std::fprintf(stderr, "usage: list_and_load CHECKPOINT [RANKS]\n");
    return 2;
  }
  const dcp::Status status = Run(argv[1], world_size);
  if (status.ok()) return 0;
  std::fprintf(stderr, "list_and_load: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
