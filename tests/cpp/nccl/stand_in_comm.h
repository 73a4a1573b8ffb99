// Communicators of the stand-in for libnccl.so.2: operations that wait for
// mail.

#ifndef DCP_TESTS_NCCL_STAND_IN_COMM_H_
#define DCP_TESTS_NCCL_STAND_IN_COMM_H_

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nccl/mail.h"
#include "nccl/stand_in_nccl.h"

/// Returns whether it is done; asked until it is.
using Step = std::function<bool()>;

/// Work of a stream.
struct Operation {
  void* stream = nullptr;
  std::vector<Step> steps;
  std::function<void()> last;  ///< when all steps are done
};

/// As nccl.h calls it.
struct ncclComm {  // NOLINT(readability-identifier-naming)
  Mail mail{""};
  std::string name;
  int rank = 0;
  int size = 1;
  bool is_split = false;
  bool blocks = true;
  int collectives = 0;
  int splits = 0;
  int polls = 0;
  std::vector<int> sent, received;  // by peer
  std::deque<Operation> operations;
  /// What a call that does not block has left to be done, by polls.
  std::vector<Step> unsettled;

  /// Adds a line to calls.<rank>.
  void Note(const std::string& call) const;
};

/// Of everything here; held by those who call.
std::recursive_mutex& StandInMutex();
StandInNcclState& NcclState();

ncclComm* MakeComm(const ncclComm& like, const std::string& name);
void Forget(ncclComm* comm);
bool AllAreAlive(const ncclComm& comm);
/// Takes all operations further; whether one of `stream` is left.
bool IsBusy(void* stream);
/// Whether `steps`, which are asked, are all done.
bool RunSteps(std::vector<Step>& steps);

/// The place of mail of the next collective.
std::string NextCollective(ncclComm* comm);
/// A message of `nbytes` that comes.
Step Arrival(const ncclComm& comm, const std::string& name, void* to,
             size_t nbytes);
/// One that goes, when its turn comes.
Step Departure(const ncclComm& comm, const std::string& name, const void* from,
               size_t nbytes);
/// One of each rank, one after the other in `to`.
std::vector<Step> Arrivals(ncclComm* comm, const void* from, char* to,
                           size_t nbytes);

void BeginGroup();
/// \returns an ncclResult_t
int EndGroup();
/// Adds to the group of this thread, or is one by itself.
/// \returns an ncclResult_t
int Add(ncclComm* comm, const char* call, Operation operation);

inline constexpr int kInvalidUsage = 5;  // ncclInvalidUsage

#endif  // DCP_TESTS_NCCL_STAND_IN_COMM_H_
