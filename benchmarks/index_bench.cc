#include "index_bench.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "format/indexed_metadata.h"
#include "llama_shapes.h"
#include "stopwatch.h"

namespace dcp::benchmarks {
namespace {

/// Of a `.metadata` that is not there.
constexpr MetadataBinding kBinding = {.nbytes = int64_t{1} << 40};

/// Adds a tensor in torch.chunk's rows. `ends` are of the ranks' files.
Status AddTensor(const std::string& fqn, const Dims& size,
                 std::vector<int64_t>* ends, IndexedMetadataWriter* writer) {
  DCP_RETURN_IF_ERROR(
      writer->BeginTensor(fqn, {.dtype = DType::kFloat32}, size));
  const auto ranks = static_cast<int64_t>(ends->size());
  const int64_t rows = (size[0] + ranks - 1) / ranks;
  for (int64_t rank = 0; rank * rows < size[0]; ++rank) {
    IndexedItem item{.chunk = WholeBox(size), .index = rank};
    item.chunk.offsets[0] = rows * rank;
    item.chunk.sizes[0] = std::min(rows, size[0] - rows * rank);
    int64_t& end = (*ends)[static_cast<size_t>(rank)];
    const int64_t length = item.chunk.numel() * 4 + 1600;
    item.place = {.relative_path = "__" + std::to_string(rank) + "_0.distcp",
                  .offset = end,
                  .length = length};
    end += (length + 63) / 64 * 64;
    DCP_RETURN_IF_ERROR(writer->Add(std::move(item)));
  }
  return absl::OkStatus();
}

StatusOr<std::string> IndexOf(int64_t ranks) {
  std::string data;
  IndexedMetadataWriter writer([&data](std::string_view bytes) {
    data += bytes;
    return absl::OkStatus();
  });
  std::vector<int64_t> ends(static_cast<size_t>(ranks), 0);
  for (const auto& [fqn, size] : Llama70B()) {
    for (const char* const suffix : {"", ".exp_avg", ".exp_avg_sq"}) {
      DCP_RETURN_IF_ERROR(
          AddTensor("optim.state." + fqn + suffix, size, &ends, &writer));
    }
  }
  DCP_RETURN_IF_ERROR(writer.Finish(Metadata(), {}, kBinding));
  return data;
}

/// Entries in a random order, found by their names.
Status MeasureFind(const IndexedMetadata& index, Stopwatch* watch) {
  DCP_ASSIGN_OR_RETURN(const Metadata outline, index.ReadOutline());
  std::vector<std::string> names;
  for (const auto& [name, entry] : outline.entries()) names.push_back(name);
  std::shuffle(names.begin(), names.end(), std::mt19937_64(1));
  constexpr size_t kLookups = 1'000'000;
  uint64_t chunks = 0;
  watch->Restart();
  for (size_t i = 0; i < kLookups; ++i) {
    DCP_ASSIGN_OR_RETURN(const auto entry,
                         index.At(outline.Position(names[i % names.size()])));
    chunks += entry.item_count;
  }
  watch->PrintEach("index: finding a tensor's chunks, each", kLookups);
  return chunks > 0 ? absl::OkStatus() : Internal("no tensor was found");
}

/// One chunk of every tensor, then all chunks of some.
Status MeasureItems(const IndexedMetadata& index, Stopwatch* watch) {
  std::vector<IndexedMetadata::Entry> entries;
  for (size_t position = 0; position < index.size(); ++position) {
    DCP_ASSIGN_OR_RETURN(auto entry, index.At(position));
    entries.push_back(std::move(entry));
  }
  watch->Restart();
  for (const IndexedMetadata::Entry& entry : entries) {
    DCP_RETURN_IF_ERROR(index.Items(entry, entry.item_count / 2, 1).status());
  }
  watch->PrintEach("index: reading one chunk, each",
                   static_cast<int64_t>(entries.size()));
  int64_t chunks = 0;
  for (size_t i = 0; i < entries.size(); i += 16) {
    DCP_ASSIGN_OR_RETURN(const auto items,
                         index.Items(entries[i], 0, entries[i].item_count));
    chunks += static_cast<int64_t>(items.size());
  }
  watch->PrintEach("index: reading a tensor's chunks, each chunk", chunks);
  return absl::OkStatus();
}

}  // namespace

Status MeasureIndex(int64_t ranks) {
  Stopwatch watch;
  DCP_ASSIGN_OR_RETURN(const std::string data, IndexOf(ranks));
  const auto nbytes = static_cast<double>(data.size());
  watch.Print("index: written, entry by entry", nbytes / 1e6);
  const ReadRange read = [&data](int64_t begin, std::span<std::byte> out) {
    std::memcpy(out.data(), data.data() + begin, out.size());
    return absl::OkStatus();
  };
  DCP_ASSIGN_OR_RETURN(
      const IndexedMetadata index,
      IndexedMetadata::Open(read, static_cast<int64_t>(data.size()), kBinding));
  watch.Print("index: opened");
  uint64_t chunks = 0;
  for (size_t position = 0; position < index.size(); ++position) {
    DCP_ASSIGN_OR_RETURN(const auto entry, index.At(position));
    chunks += entry.item_count;
  }
  std::printf("%-44s %9.1f MB, %.1f bytes each\n",
              ("index of " + std::to_string(chunks) + " chunks").c_str(),
              nbytes / 1e6, nbytes / static_cast<double>(chunks));
  DCP_RETURN_IF_ERROR(MeasureFind(index, &watch));
  return MeasureItems(index, &watch);
}

}  // namespace dcp::benchmarks
