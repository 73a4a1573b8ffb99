// saver_trainer FOLDER
//
// A trainer whose checkpoint does not need it any more: a process of libdcp's,
// the saver, writes what the trainer has staged. Here the trainer is killed as
// soon as the saver has its step, and another process finds the checkpoint:
//
//   the trainer of step 3 was killed by signal 9
//   0.06 s later step 3 was committed; all of its 4194304 weights are there
//
// The pattern: a dcp::Saver is made once; each save is given it, and
// WaitHandedOver says from when on the save is carried through, whatever
// becomes of the trainer. Nothing else differs from async_save.cc.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dcp/async_save.h"
#include "dcp/latest.h"
#include "dcp/saver.h"

namespace {

constexpr int64_t kSteps = 3;
constexpr int64_t kWeights = int64_t{1} << 22;

dcp::TensorView ViewOf(std::vector<float>& weights) {
  return dcp::ContiguousView(weights.data(), dcp::DType::kFloat32, {kWeights});
}

/// Trains, saves the last step, and is killed; returns only if something fails.
dcp::Status Train(const std::string& folder) {
  DCP_ASSIGN_OR_RETURN(const std::shared_ptr<dcp::Saver> saver,
                       dcp::Saver::Make({.program = DCP_SAVER_PROGRAM}));
  std::vector<float> weights(kWeights);
  for (int64_t step = 1; step <= kSteps; ++step) {
    for (float& weight : weights) weight += 1;
  }
  std::vector<dcp::SaveEntry> entries;
  entries.push_back(dcp::TensorEntry("weights", ViewOf(weights)));
  const auto save =
      dcp::AsyncSave(std::move(entries), nullptr,
                     {.writer = dcp::MakeFileSystemWriter(
                          {.path = folder + "/step-" + std::to_string(kSteps)}),
                      .transport = dcp::MakeSingleProcessTransport()},
                     {.staging = {.saver = saver}});
  // The next step may change the weights: the saver has a copy.
  DCP_RETURN_IF_ERROR(save->WaitStaged());
  for (float& weight : weights) weight += 1;
  DCP_RETURN_IF_ERROR(save->WaitHandedOver());
  (void)::raise(SIGKILL);  // as a node's administrator, or the OOM killer
  return {};
}

/// Whether the trainer was killed, as it is to be here.
bool AwaitKill(pid_t trainer) {
  int status = 0;
  if (::waitpid(trainer, &status, 0) != trainer) return false;
  if (!WIFSIGNALED(status)) return false;
  std::printf("the trainer of step %lld was killed by signal %d\n",
              static_cast<long long>(kSteps), WTERMSIG(status));
  return true;
}

/// The folder of the newest step, which nobody but the saver is to bring.
dcp::StatusOr<std::string> AwaitCommit(const std::string& folder) {
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < deadline) {
    DCP_ASSIGN_OR_RETURN(const dcp::LatestStep latest, dcp::FindLatest(folder));
    if (latest.found) return latest.found->path;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return dcp::MakeStatus(absl::StatusCode::kDeadlineExceeded,
                         "nothing was committed in " + folder);
}

dcp::Status FindAndLoad(const std::string& folder) {
  const auto begin = std::chrono::steady_clock::now();
  DCP_ASSIGN_OR_RETURN(const std::string path, AwaitCommit(folder));
  const std::chrono::duration<double> waited =
      std::chrono::steady_clock::now() - begin;
  std::vector<float> weights(kWeights);
  const std::vector<dcp::LoadEntry> entries = {
      dcp::TensorLoad("weights", ViewOf(weights))};
  DCP_RETURN_IF_ERROR(dcp::Load(path, entries).status());
  const auto right =
      std::count(weights.begin(), weights.end(), static_cast<float>(kSteps));
  if (right != kWeights) {
    return dcp::MakeStatus(absl::StatusCode::kDataLoss,
                           "only " + std::to_string(right) + " weights of " +
                               path + " are what was staged");
  }
  std::printf(
      "%.2f s later step %lld was committed; all of its %lld weights are "
      "there\n",
      waited.count(), static_cast<long long>(kSteps),
      static_cast<long long>(kWeights));
  return {};
}

int Fail(const dcp::Status& status) {
  std::fprintf(stderr, "saver_trainer: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: saver_trainer FOLDER\n");
    return 2;
  }
  const pid_t trainer = ::fork();
  if (trainer == 0) return Fail(Train(argv[1]));
  if (trainer < 0 || !AwaitKill(trainer)) return 1;
  const dcp::Status status = FindAndLoad(argv[1]);
  return status.ok() ? 0 : Fail(status);
}
