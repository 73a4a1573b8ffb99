// Saver: a process beside this one that saves what this one has staged, and
// carries that through if this one is killed.
//
//   auto saver = dcp::Saver::Make({.program = "/usr/libexec/dcpcpp_saver"});
//   auto save = dcp::AsyncSave(std::move(entries), owner, std::move(target),
//                              {.staging = {.saver = *saver}});

#ifndef DCP_SAVER_H_
#define DCP_SAVER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

struct SaverOptions {
  /// Absolute path of dcpcpp_saver, which libdcp installs in its libexec.
  std::string program;
  /// A saver, or another rank's, that shows no life for this long is given up.
  Clock::Duration patience = std::chrono::seconds(15);
};

/// The saver of this process, and the memory that it shares with it.
///
/// The program is started for the first save, outside of this process's session
/// (signals of a terminal do not reach it), with two descriptors and no memory
/// but what is shared. It ends when this process has ended and no order is
/// left. One that was killed is replaced at the next save. Savers of several
/// ranks talk through records in the checkpoint directory, which must be the
/// same for all of them.
///
/// Thread-safe. Kept from save to save; a forked child can only destroy it.
class Saver {
 public:
  /// \error kInvalidArgument  `program` is no absolute path
  /// \error kResourceExhausted  there is no shared memory
  static StatusOr<std::shared_ptr<Saver>> Make(const SaverOptions& options);

  virtual ~Saver() = default;
  Saver(const Saver&) = delete;
  Saver& operator=(const Saver&) = delete;

  /// Starts the program now, rather than in the first save.
  virtual Status Start() = 0;
  /// The process's number, if it was started and is not known to have ended.
  virtual std::optional<int> process_id() = 0;
  /// Shared memory, used or not.
  virtual int64_t memory_nbytes() const = 0;
  /// Gives what no state uses back to the system.
  virtual void ReleaseMemory() = 0;

 private:
  friend class SaverProcess;  // there is no other
  Saver() = default;
};

}  // namespace dcp

#endif  // DCP_SAVER_H_
