// A library with the entry points of libnccl.so.2 that a trainer and dcp use,
// over files of a directory (mail.h), whose name is the unique id. Ranks are
// processes. What it is asked for it notes in the file calls.<rank>.
//
// Operations go on when somebody asks whether their stream is busy, as the
// stand-in for the driver does for its events.

#include "nccl/stand_in_nccl.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "device/stand_in_driver.h"
#include "nccl/nccl_api.h"
#include "nccl/stand_in_comm.h"

namespace {

constexpr size_t kHeaderNbytes = 32;

class Lock {
 public:
  Lock() : lock_(StandInMutex()) {}

 private:
  std::scoped_lock<std::recursive_mutex> lock_;
};

bool HasSplitConfig(const dcp::NcclConfig& config) {
  return config.magic == 0xcafebeef && config.size == sizeof(config) &&
         config.version == 21800 && config.split_share == 0 &&
         config.blocking == 0 && config.max_ctas == 1;
}

/// Makes `*made` when all ranks are there.
Step SplitWhenAllCome(ncclComm* comm, const std::string& name,
                      ncclComm** made) {
  return [=] {
    for (int peer = 0; peer < comm->size; ++peer) {
      if (!comm->mail.Get(name + "." + std::to_string(peer))) return false;
    }
    *made = MakeComm(*comm, name);
    (*made)->is_split = true;
    (*made)->blocks = false;
    return true;
  };
}

/// Between two ranks, in order.
std::string MailName(const ncclComm& comm, int from, int to, int number) {
  return comm.name + "." + std::to_string(from) + ".to." + std::to_string(to) +
         "." + std::to_string(number);
}

}  // namespace

extern "C" {

StandInNcclState* stand_in_nccl_state() { return &NcclState(); }

bool stand_in_nccl_is_busy(void* stream) {
  const Lock lock;
  return IsBusy(stream);
}

int ncclGetVersion(int* version) {
  *version = NcclState().version;
  return 0;
}

const char* ncclGetErrorString(int result) {
  return result == dcp::kNcclRemoteError ? "remote process exited"
                                         : "another error";
}

const char* ncclGetLastError(ncclComm*) { return "last error of NCCL"; }

struct UniqueId {
  char directory[128];
};

/// A new directory, for ranks that do not have one yet.
int ncclGetUniqueId(UniqueId* id) {
  const char* const parent = std::getenv("TMPDIR");
  const std::string name =
      std::string(parent != nullptr ? parent : "/tmp") + "/nccl-XXXXXX";
  *id = {};
  name.copy(id->directory, sizeof(id->directory) - 1);
  return mkdtemp(id->directory) != nullptr ? 0 : dcp::kNcclSystemError;
}

int ncclCommInitRankConfig(ncclComm** made, int size, UniqueId id, int rank,
                           dcp::NcclConfig* config) {
  const Lock lock;
  ncclComm comm;
  comm.mail = Mail(id.directory);
  comm.rank = rank;
  comm.size = size;
  comm.blocks = config == nullptr || config->blocking != 0;
  comm.mail.Put("pid." + std::to_string(rank), std::to_string(getpid()));
  *made = MakeComm(comm, "world");
  void* const driver = dlopen(DCP_STAND_IN_DRIVER, RTLD_NOW | RTLD_LOCAL);
  const auto driver_state =
      reinterpret_cast<StandInStateFunction>(dlsym(driver, "stand_in_state"));
  driver_state()->is_busy = stand_in_nccl_is_busy;
  return 0;
}

int ncclCommInitRank(ncclComm** made, int size, UniqueId id, int rank) {
  return ncclCommInitRankConfig(made, size, id, rank, nullptr);
}

int ncclCommSplit(ncclComm* comm, int color, int key, ncclComm** made,
                  dcp::NcclConfig* config) {
  std::unique_lock<std::recursive_mutex> lock(StandInMutex());
  comm->Note("split");
  if (color != 0 || key != comm->rank || !HasSplitConfig(*config)) {
    return kInvalidUsage;
  }
  const std::string name = "split" + std::to_string(comm->splits++);
  comm->mail.Put(name + "." + std::to_string(comm->rank), "");
  *made = nullptr;
  Step split = SplitWhenAllCome(comm, name, made);
  if (!comm->blocks) {
    comm->unsettled = {std::move(split)};
    return dcp::kNcclInProgress;
  }
  while (!split()) {
    lock.unlock();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    lock.lock();
  }
  return 0;
}

int ncclCommGetAsyncError(ncclComm* comm, int* error) {
  const Lock lock;
  *error = RunSteps(comm->unsettled) ? 0 : dcp::kNcclInProgress;
  if (!comm->is_split) return 0;
  const int planned = NcclState().async_error;
  if (planned != 0) *error = planned;
  // Now and then, as it takes a while.
  const bool looks = !comm->operations.empty() && ++comm->polls % 16 == 0;
  if (looks && !AllAreAlive(*comm)) {
    *error = dcp::kNcclRemoteError;
  }
  return 0;
}

int ncclCommCount(const ncclComm* comm, int* count) {
  *count = comm->size;
  return 0;
}

int ncclCommUserRank(const ncclComm* comm, int* rank) {
  *rank = comm->rank;
  return 0;
}

int ncclCommCuDevice(const ncclComm*, int* device) {
  *device = 1;
  return 0;
}

int ncclCommFinalize(ncclComm* comm) {
  const Lock lock;
  comm->Note("finalize");
  return comm->operations.empty() ? dcp::kNcclInProgress : kInvalidUsage;
}

int ncclCommDestroy(ncclComm* comm) {
  const Lock lock;
  comm->Note("destroy");
  Forget(comm);
  return 0;
}

int ncclCommAbort(ncclComm* comm) {
  const Lock lock;
  comm->Note("abort");
  Forget(comm);
  return 0;
}

int ncclGroupStart() {
  BeginGroup();
  return 0;
}

int ncclGroupEnd() {
  const Lock lock;
  return EndGroup();
}

int ncclAllGather(const void* from, void* to, size_t count, int, ncclComm* comm,
                  void* stream) {
  const Lock lock;
  char* const all = static_cast<char*>(to);
  const size_t last = static_cast<size_t>(comm->size - 1) * count;
  const bool garbles =
      comm->is_split && count == kHeaderNbytes && NcclState().garbles_headers;
  return Add(comm, "all_gather",
             {.stream = stream,
              .steps = Arrivals(comm, from, all, count),
              .last = [=] {
                if (garbles) all[last + 8] = '?';
              }});
}

/// Of doubles, by the order of ranks.
int ncclAllReduce(const void* from, void* to, size_t count, int, int,
                  ncclComm* comm, void* stream) {
  const Lock lock;
  auto all = std::make_shared<std::vector<double>>(
      count * static_cast<size_t>(comm->size));
  char* const place = reinterpret_cast<char*>(all->data());
  return Add(comm, "all_reduce",
             {.stream = stream,
              .steps = Arrivals(comm, from, place, count * sizeof(double)),
              .last = [=] {
                auto* const sums = static_cast<double*>(to);
                std::fill_n(sums, count, 0.0);
                for (size_t i = 0; i < all->size(); ++i) {
                  sums[i % count] += (*all)[i];
                }
              }});
}

int ncclBroadcast(const void* from, void* to, size_t count, int, int root,
                  ncclComm* comm, void* stream) {
  const Lock lock;
  const int number = comm->collectives++;
  // To each rank by itself, as the first one to come removes it.
  Operation operation{.stream = stream};
  for (int peer = 0; peer < comm->size; ++peer) {
    const std::string name = "b" + MailName(*comm, root, peer, number);
    if (peer == root) continue;
    if (comm->rank == root) {
      operation.steps.push_back(Departure(*comm, name, from, count));
    } else if (comm->rank == peer) {
      operation.steps.push_back(Arrival(*comm, name, to, count));
    }
  }
  return Add(comm, "broadcast", std::move(operation));
}

int ncclSend(const void* from, size_t count, int, int peer, ncclComm* comm,
             void* stream) {
  const Lock lock;
  const int number = comm->sent[static_cast<size_t>(peer)]++;
  const std::string name = MailName(*comm, comm->rank, peer, number);
  return Add(
      comm, "send",
      {.stream = stream, .steps = {Departure(*comm, name, from, count)}});
}

int ncclRecv(void* to, size_t count, int, int peer, ncclComm* comm,
             void* stream) {
  const Lock lock;
  const int number = comm->received[static_cast<size_t>(peer)]++;
  const std::string name = MailName(*comm, peer, comm->rank, number);
  return Add(comm, "recv",
             {.stream = stream, .steps = {Arrival(*comm, name, to, count)}});
}

}  // extern "C"
