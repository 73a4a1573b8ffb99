// A rank of a trainer, with a transport over the stand-in for NCCL.
//
//   dcp_nccl_rank DIRECTORY RANK SIZE TIMEOUT BLOCKS
//
// It does what it is told over the socket 3 (rank_wire.h): makes its transport
// in this thread, and calls it from others, as saves in the background do.

#include <dlfcn.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dcp/nccl_transport.h"
#include "device/stand_in_driver.h"
#include "nccl/nccl_api.h"
#include "nccl/rank_wire.h"
#include "nccl/stand_in_nccl.h"

namespace dcp::testing {
namespace {

constexpr int kSocket = 3;

struct UniqueId {
  char directory[128];
};

/// What a trainer has of NCCL, and this one's communicator.
struct Trainer {
  template <typename Function>
  Function Find(const char* name) const {
    return reinterpret_cast<Function>(dlsym(nccl, name));
  }

  void* nccl = dlopen(DCP_STAND_IN_NCCL, RTLD_NOW | RTLD_LOCAL);
  void* driver = dlopen(DCP_STAND_IN_DRIVER, RTLD_NOW | RTLD_LOCAL);
  int rank = 0;
  int size = 1;
  ncclComm* comm = nullptr;
};

Trainer MakeTrainer(char** argv) {
  Trainer trainer;
  trainer.rank = std::atoi(argv[2]);
  trainer.size = std::atoi(argv[3]);
  UniqueId id{};
  std::string(argv[1]).copy(id.directory, sizeof(id.directory) - 1);
  NcclConfig config;
  config.blocking = std::atoi(argv[5]);
  using Init = int (*)(ncclComm**, int, UniqueId, int, NcclConfig*);
  trainer.Find<Init>("ncclCommInitRankConfig")(&trainer.comm, trainer.size, id,
                                               trainer.rank, &config);
  return trainer;
}

/// A collective of the trainer's own, on its communicator and its stream.
Status Train(const Trainer& trainer) {
  std::string all(static_cast<size_t>(trainer.size), '?');
  const char own = static_cast<char>('a' + trainer.rank);
  void* const stream = &all;
  using AllGather = int (*)(const void*, void*, size_t, int, ncclComm*, void*);
  const int result = trainer.Find<AllGather>("ncclAllGather")(
      &own, all.data(), 1, 0, trainer.comm, stream);
  if (result != kNcclSuccess && result != kNcclInProgress) {
    return Internal("the trainer's all-gather fails");
  }
  const auto is_busy = trainer.Find<bool (*)(void*)>("stand_in_nccl_is_busy");
  const auto get_error =
      trainer.Find<int (*)(ncclComm*, int*)>("ncclCommGetAsyncError");
  int state = kNcclInProgress;
  while (is_busy(stream) || state == kNcclInProgress) {
    get_error(trainer.comm, &state);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i] != static_cast<char>('a' + i)) return Internal("got " + all);
  }
  return absl::OkStatus();
}

void Set(const Trainer& trainer, const std::string& name, int value) {
  StandInNcclState& state =
      *trainer.Find<StandInNcclStateFunction>("stand_in_nccl_state")();
  if (name == "async_error") state.async_error = value;
  if (name == "call_error") state.call_error = value;
  if (name == "is_stuck") state.is_stuck = value != 0;
  if (name == "garbles_messages") state.garbles_messages = value != 0;
  if (name == "garbles_headers") state.garbles_headers = value != 0;
}

/// Streams, events, memory and contexts that are still there.
std::string LeftBehind(const Trainer& trainer) {
  const auto state = reinterpret_cast<StandInStateFunction>(
      dlsym(trainer.driver, "stand_in_state"))();
  return std::to_string(state->objects + state->retained[1] + state->pushed);
}

StatusOr<std::vector<std::string>> Call(Transport& transport,
                                        const RankMessage& request) {
  const std::vector<std::string>& values = request.values;
  if (request.what == "gather") return transport.Gather(values[0]);
  std::vector<std::string> result;
  if (request.what == "scatter") {
    DCP_ASSIGN_OR_RETURN(result.emplace_back(), transport.Scatter(values));
  } else if (request.what == "broadcast") {
    DCP_ASSIGN_OR_RETURN(result.emplace_back(), transport.Broadcast(values[0]));
  } else if (request.what == "await") {
    DCP_RETURN_IF_ERROR(transport.AwaitAll(values[0]));
  } else {
    DCP_RETURN_IF_ERROR(transport.Check());
  }
  return result;
}

StatusOr<std::vector<std::string>> Do(const Trainer& trainer,
                                      const RankMessage& request,
                                      const NcclTransportOptions& options,
                                      std::unique_ptr<Transport>& transport) {
  std::vector<std::string> result;
  if (request.what == "make") {
    DCP_ASSIGN_OR_RETURN(transport, MakeNcclTransport(trainer.comm, options));
  } else if (request.what == "destroy") {
    transport.reset();
    result = {LeftBehind(trainer)};
  } else if (request.what == "set") {
    Set(trainer, request.values[0], std::stoi(request.values[1]));
  } else if (request.what == "train") {
    DCP_RETURN_IF_ERROR(Train(trainer));
  } else {
    StatusOr<std::vector<std::string>> called;
    std::thread([&] { called = Call(*transport, request); }).join();
    return called;
  }
  return result;
}

void Serve(char** argv) {
  const Trainer trainer = MakeTrainer(argv);
  const NcclTransportOptions options{.timeout_seconds = std::atof(argv[4]),
                                     .cuda_library = DCP_STAND_IN_DRIVER};
  std::unique_ptr<Transport> transport;
  while (const auto request = Hear(kSocket)) {
    auto done = Do(trainer, *request, options, transport);
    RankMessage reply{.what = SerializeStatus(done.status())};
    if (done.ok()) reply.values = *std::move(done);
    if (!Tell(kSocket, reply)) break;
  }
}

}  // namespace
}  // namespace dcp::testing

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  dcp::testing::Serve(argv);
  return 0;
}
