// Transport: how the ranks of one save or load talk to each other.
//
// Messages are opaque bytes, tens of kilobytes a rank; bulk data never goes
// through here. All ranks call the same methods in the same order.

#ifndef DCP_TRANSPORT_H_
#define DCP_TRANSPORT_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"

namespace dcp {

/// Byte collectives over a fixed set of ranks. One thread at a time.
///
/// Every call but AwaitAll returns within the implementation's deadline. After
/// an error the transport is unusable for the operation at hand: the caller
/// gives up the save or load.
/// \error kDeadlineExceeded  a rank did not take part in time; the message
///     names it where it is known.
/// \error kAborted           the connection to a rank broke, or it is gone.
/// \error kFailedPrecondition  ranks called different methods.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  /// The planning rank.
  virtual int coordinator() const { return 0; }

  /// The coordinator gets every rank's message, by rank; others an empty
  /// vector.
  virtual StatusOr<std::vector<std::string>> Gather(
      std::string_view message) = 0;
  /// Rank i gets `messages[i]` of the coordinator; others pass an empty span.
  virtual StatusOr<std::string> Scatter(
      std::span<const std::string> messages) = 0;
  /// Every rank gets the coordinator's message.
  virtual StatusOr<std::string> Broadcast(std::string_view message) = 0;

  /// Returns once every rank has called it for this `phase`.
  ///
  /// It ends a phase of bulk I/O, which takes as long as it takes: there is no
  /// deadline, and no collective with a timeout of its own is pending
  /// meanwhile. It waits as long as the ranks that are still at work are alive,
  /// as far as the implementation can tell (a connection, a heartbeat, the
  /// transport object of a thread), and does not judge how fast they are.
  /// \error kAborted  a rank that has not called it is gone; named.
  virtual Status AwaitAll(std::string_view phase) = 0;

  /// Whether the operation may go on; asked now and then during bulk I/O, in
  /// the thread that runs the operation.
  /// \error kAborted    a rank is gone
  /// \error kCancelled  somebody wants this rank to stop (Ctrl-C). It leaves
  ///     the operation at once, without another call.
  virtual Status Check() { return absl::OkStatus(); }
};

/// The transport of one process: every collective is a copy.
std::unique_ptr<Transport> MakeSingleProcessTransport();

/// `world_size` transports for ranks that are threads of one process.
///
/// A collective that waits longer than `timeout_seconds` for other ranks fails
/// with kDeadlineExceeded and names the ranks that are missing; so do the calls
/// of all ranks from then on. A rank is alive while its transport exists:
/// destroying it fails, with kAborted, the calls that wait for it and all later
/// ones. Collectives end together on all ranks.
std::vector<std::unique_ptr<Transport>> MakeThreadTransports(
    int world_size, double timeout_seconds);

}  // namespace dcp

#endif  // DCP_TRANSPORT_H_
