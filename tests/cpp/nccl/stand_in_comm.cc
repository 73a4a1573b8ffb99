#include "nccl/stand_in_comm.h"

#include <sys/syscall.h>

#include <cstring>
#include <fstream>
#include <utility>

#include "nccl/nccl_api.h"

namespace {

StandInNcclState state;
std::recursive_mutex mutex;
std::vector<std::unique_ptr<ncclComm>> comms;

/// What a thread has asked for in a group.
struct Group {
  int depth = 0;
  ncclComm* comm = nullptr;
  Operation operation;
};
thread_local Group group;

bool IsAlive(const ncclComm& comm, int peer) {
  const auto pid = comm.mail.Get("pid." + std::to_string(peer));
  if (!pid) return true;  // not there yet
  std::ifstream file("/proc/" + *pid + "/stat");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const size_t end = text.rfind(')');
  return end != std::string::npos && text[end + 2] != 'Z';
}

void Progress(ncclComm& comm) {
  while (!comm.operations.empty()) {
    if (comm.is_split && state.is_stuck) return;
    Operation& operation = comm.operations.front();
    if (!RunSteps(operation.steps)) return;
    if (operation.last) operation.last();
    comm.operations.pop_front();
  }
}

}  // namespace

std::recursive_mutex& StandInMutex() { return mutex; }
StandInNcclState& NcclState() { return state; }

void ncclComm::Note(const std::string& call) const {
  const bool is_main = syscall(SYS_gettid) == getpid();
  mail.Append("calls." + std::to_string(rank),
              name + " " + call + (is_main ? " main" : " other"));
}

ncclComm* MakeComm(const ncclComm& like, const std::string& name) {
  auto comm = std::make_unique<ncclComm>();
  comm->mail = like.mail;
  comm->name = name;
  comm->rank = like.rank;
  comm->size = like.size;
  comm->blocks = like.blocks;
  comm->sent.assign(static_cast<size_t>(comm->size), 0);
  comm->received = comm->sent;
  comms.push_back(std::move(comm));
  return comms.back().get();
}

void Forget(ncclComm* comm) {
  std::erase_if(comms, [comm](const auto& each) { return each.get() == comm; });
}

bool AllAreAlive(const ncclComm& comm) {
  for (int peer = 0; peer < comm.size; ++peer) {
    if (!IsAlive(comm, peer)) return false;
  }
  return true;
}

bool IsBusy(void* stream) {
  bool is_busy = false;
  for (const auto& comm : comms) {
    Progress(*comm);
    for (const Operation& operation : comm->operations) {
      is_busy = is_busy || operation.stream == stream;
    }
  }
  return is_busy;
}

bool RunSteps(std::vector<Step>& steps) {
  std::erase_if(steps, [](const Step& step) { return step(); });
  return steps.empty();
}

std::string NextCollective(ncclComm* comm) {
  return comm->name + "." + std::to_string(comm->collectives++) + ".";
}

Step Arrival(const ncclComm& comm, const std::string& name, void* to,
             size_t nbytes) {
  return [&comm, name, to, nbytes] {
    auto bytes = comm.mail.Get(name);
    if (!bytes || bytes->size() != nbytes) return false;
    const bool is_message = name.find(".to.") != std::string::npos;
    if (is_message && comm.is_split && state.garbles_messages) {
      bytes->back() = static_cast<char>(~bytes->back());
    }
    std::memcpy(to, bytes->data(), nbytes);
    if (is_message) comm.mail.Remove(name);
    return true;
  };
}

Step Departure(const ncclComm& comm, const std::string& name, const void* from,
               size_t nbytes) {
  return [&comm, name, from, nbytes] {
    comm.mail.Put(name, {static_cast<const char*>(from), nbytes});
    return true;
  };
}

std::vector<Step> Arrivals(ncclComm* comm, const void* from, char* to,
                           size_t nbytes) {
  const std::string name = NextCollective(comm);
  std::vector<Step> steps = {
      Departure(*comm, name + std::to_string(comm->rank), from, nbytes)};
  for (int peer = 0; peer < comm->size; ++peer) {
    steps.push_back(Arrival(*comm, name + std::to_string(peer),
                            to + static_cast<size_t>(peer) * nbytes, nbytes));
  }
  return steps;
}

void BeginGroup() { ++group.depth; }

int EndGroup() {
  if (group.depth == 0) return kInvalidUsage;
  if (--group.depth > 0 || group.comm == nullptr) return dcp::kNcclSuccess;
  ncclComm& comm = *std::exchange(group.comm, nullptr);
  comm.operations.push_back(std::exchange(group.operation, {}));
  Progress(comm);  // what goes does so by itself
  if (comm.blocks) return dcp::kNcclSuccess;
  // Settled when it has been asked for twice.
  comm.unsettled = {[polls = 0]() mutable { return ++polls > 1; }};
  return dcp::kNcclInProgress;
}

int Add(ncclComm* comm, const char* call, Operation operation) {
  std::string text(64, '\0');
  text.resize(static_cast<size_t>(std::snprintf(
      text.data(), text.size(), "%s %p", call, operation.stream)));
  comm->Note(text);
  if (comm->is_split && state.call_error != 0) return state.call_error;
  if (!comm->unsettled.empty()) return kInvalidUsage;
  BeginGroup();
  group.comm = comm;
  group.operation.stream = operation.stream;
  group.operation.last = std::move(operation.last);
  for (Step& step : operation.steps) {
    group.operation.steps.push_back(std::move(step));
  }
  return EndGroup();
}
