// write_for_torch CHECKPOINT [RANKS]
//
// Writes a checkpoint as a C++ trainer of RANKS ranks would; PyTorch reads it:
//
//   state = {"model": {"weight": torch.empty(12, 5), "bias": ...}, "step": 0}
//   torch.distributed.checkpoint.load(state, checkpoint_id=CHECKPOINT)
//
// The state: a float32 matrix whose rows are sharded, a bfloat16 vector that
// every rank holds whole, and objects that are not tensors.

#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "dcp/checkpoint.h"
#include "ranks.h"

namespace {

constexpr int64_t kRows = 12;
constexpr int64_t kColumns = 5;

/// What one rank holds in memory: its rows of the weight, and the bias.
struct TrainerState {
  int64_t first_row = 0;
  std::vector<float> weight;   // element (i, j) of the whole is 5 * i + j
  std::vector<uint16_t> bias;  // bfloat16: the upper half of a float
};

TrainerState MakeState(int rank, int world_size) {
  TrainerState state;
  state.first_row = kRows * rank / world_size;
  const int64_t end_row = kRows * (rank + 1) / world_size;
  state.weight.resize(
      static_cast<size_t>((end_row - state.first_row) * kColumns));
  std::iota(state.weight.begin(), state.weight.end(),
            static_cast<float>(state.first_row * kColumns));
  for (int i = 0; i < kColumns; ++i) {
    const auto bits = std::bit_cast<uint32_t>(0.5F * static_cast<float>(i));
    state.bias.push_back(static_cast<uint16_t>(bits >> 16));
  }
  return state;
}

/// The leaves of the state under their flat keys. Views own nothing: `state`
/// must stay as it is until Save returns.
dcp::StatusOr<std::vector<dcp::SaveEntry>> MakeEntries(TrainerState& state) {
  const auto rows = static_cast<int64_t>(state.weight.size()) / kColumns;
  std::vector<dcp::SaveEntry> entries;
  // A shard says how large the whole is and where it lies in it.
  entries.push_back(dcp::ShardEntry(
      "model.weight",
      dcp::ContiguousView(state.weight.data(), dcp::DType::kFloat32,
                          {rows, kColumns}),
      {kRows, kColumns}, {state.first_row, 0}));
  // A tensor that all ranks hold is written by one of them.
  entries.push_back(dcp::TensorEntry(
      "model.bias", dcp::ContiguousView(state.bias.data(),
                                        dcp::DType::kBFloat16, {kColumns})));
  DCP_ASSIGN_OR_RETURN(auto step, dcp::ObjectEntry("step", {int64_t{100}}));
  entries.push_back(std::move(step));
  DCP_ASSIGN_OR_RETURN(
      auto betas,
      dcp::ObjectEntry("optim.betas", {dcp::ObjectTuple{{{0.9}, {0.999}}}}));
  entries.push_back(std::move(betas));
  // The path tells PyTorch how the flat key nests; without one the key is
  // taken as it is.
  for (dcp::SaveEntry& entry : entries) {
    const size_t dot = entry.fqn.find('.');
    if (dot == std::string::npos) continue;
    entry.path = {entry.fqn.substr(0, dot), entry.fqn.substr(dot + 1)};
  }
  return entries;
}

/// One rank's part. A real trainer does the same once per process.
dcp::Status SaveRank(const std::string& path, dcp::Transport& transport) {
  TrainerState state = MakeState(transport.rank(), transport.world_size());
  const auto entries = MakeEntries(state);
  const auto writer = dcp::MakeFileSystemWriter({.path = path});
  // A rank that could not make its entries passes its error, so that the
  // others fail as well instead of waiting for it.
  using Entries = std::span<const dcp::SaveEntry>;
  const auto list = entries.ok() ? dcp::StatusOr<Entries>(Entries(*entries))
                                 : dcp::StatusOr<Entries>(entries.status());
  return dcp::Save(list, *writer, transport, {}).status();
}

}  // namespace

int main(int argc, char** argv) {
  const int world_size = argc > 2 ? std::atoi(argv[2]) : 2;
  if (argc < 2 || world_size < 1) {
    std::fprintf(stderr, "usage: write_for_torch CHECKPOINT [RANKS]\n");
    return 2;
  }
  const std::string path = argv[1];
  const dcp::Status status = examples::RunRanks(
      world_size,
      [&](dcp::Transport& transport) { return SaveRank(path, transport); });
  if (status.ok()) {
    std::printf("%d ranks wrote %s\n", world_size, path.c_str());
    return 0;
  }
  std::fprintf(stderr, "write_for_torch: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
