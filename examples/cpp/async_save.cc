// async_save CHECKPOINT [STEPS]
//
// A training loop that saves every second step without waiting for the disk:
// CHECKPOINT/step-2, CHECKPOINT/step-4, ... PyTorch, or list_and_load, reads
// them.
//
//   step 2: saved 4000004 bytes, copied before the step changed them
//
// The pattern: a save begins when the step is done, its copy is made while the
// next step computes, and WaitStaged comes right before the weights change.

#include "dcp/async_save.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace {

/// What the trainer holds. All weights are `step` after that step.
struct Model {
  std::vector<float> weight = std::vector<float>(1000 * 1000);
  float bias = 0;
};

/// The leaves of the state. Views own nothing: the model must not change until
/// WaitStaged has returned.
dcp::StatusOr<std::vector<dcp::SaveEntry>> MakeEntries(Model& model,
                                                       int64_t step) {
  std::vector<dcp::SaveEntry> entries;
  entries.push_back(dcp::TensorEntry(
      "weight", dcp::ContiguousView(model.weight.data(), dcp::DType::kFloat32,
                                    {1000, 1000})));
  entries.push_back(dcp::TensorEntry(
      "bias", dcp::ContiguousView(&model.bias, dcp::DType::kFloat32, {})));
  DCP_ASSIGN_OR_RETURN(auto entry, dcp::ObjectEntry("step", {step}));
  entries.push_back(std::move(entry));
  return entries;
}

/// A save that is under way, and the step that it is of.
struct PendingSave {
  int64_t step = 0;
  std::unique_ptr<dcp::AsyncSaveHandle> handle;
};

dcp::Status Finish(PendingSave& pending) {
  if (!pending.handle) return {};
  DCP_RETURN_IF_ERROR(pending.handle->Wait().status());
  const dcp::AsyncSaveProgress progress = pending.handle->progress();
  std::printf(
      "step %lld: saved %lld bytes, copied before the step changed "
      "them\n",
      static_cast<long long>(pending.step),
      static_cast<long long>(progress.nbytes));
  pending.handle.reset();
  return {};
}

dcp::Status Train(const std::string& path, int64_t steps) {
  Model model;
  PendingSave pending;
  for (int64_t step = 1; step <= steps; ++step) {
    // Forward and backward go here: they only read the weights.
    if (pending.handle) DCP_RETURN_IF_ERROR(pending.handle->WaitStaged());
    for (float& value : model.weight) value += 1;
    model.bias += 1;
    if (step % 2 != 0) continue;
    // One save at a time; the last one had two steps to end.
    DCP_RETURN_IF_ERROR(Finish(pending));
    DCP_ASSIGN_OR_RETURN(auto entries, MakeEntries(model, step));
    pending.step = step;
    pending.handle = dcp::AsyncSave(path + "/step-" + std::to_string(step),
                                    std::move(entries));
  }
  return Finish(pending);
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t steps = argc > 2 ? std::atoll(argv[2]) : 4;
  if (argc < 2 || steps < 1) {
    std::fprintf(stderr, "usage: async_save CHECKPOINT [STEPS]\n");
    return 2;
  }
  // The first save would pay for memory that was never touched.
  dcp::Status status =
      dcp::PrewarmStaging(sizeof(float) * (1000 * 1000 + 1), {});
  if (status.ok()) status = Train(argv[1], steps);
  if (status.ok()) return 0;
  std::fprintf(stderr, "async_save: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
