// Exchanges between the ranks of a save or load in which any rank may have
// failed: a message is either a payload or the error that stands in its place.

#ifndef DCP_CHECKPOINT_RANK_EXCHANGE_H_
#define DCP_CHECKPOINT_RANK_EXCHANGE_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"
#include "dcp/transport.h"

namespace dcp {

/// Whether this rank is to stop at once (Ctrl-C). It takes part in no exchange
/// any more; that it left is for the transport to tell.
bool WasInterrupted(const Status& status);

/// A message between ranks: an OK payload, or an error.
std::string SealMessage(StatusOr<std::string> content);
/// \error the error that was sealed, or kDataLoss for a garbled message
StatusOr<std::string> OpenMessage(std::string_view message);

/// Every rank contributes `local`; the coordinator turns all payloads into one
/// payload per rank. If a rank, or `reduce`, failed (or threw for want of
/// memory), every rank gets the same RankFailures under the name `phase`.
///
/// This is torch's _DistWrapper.reduce_scatter.
using ReduceToEach =
    std::function<StatusOr<std::vector<std::string>>(std::vector<std::string>)>;
StatusOr<std::string> ReduceScatter(Transport& transport,
                                    std::string_view phase,
                                    StatusOr<std::string> local,
                                    const ReduceToEach& reduce);

/// As ReduceScatter, with one payload for all (torch's all_reduce). What
/// `reduce` throws goes to the caller, and the other ranks are left to find the
/// connection broken: they cannot know how far it came.
using ReduceToOne =
    std::function<StatusOr<std::string>(std::vector<std::string>)>;
StatusOr<std::string> AllReduce(Transport& transport, std::string_view phase,
                                StatusOr<std::string> local,
                                const ReduceToOne& reduce);

/// Every rank gets the coordinator's payload, or its error as RankFailures.
/// `make` runs on the coordinator only.
StatusOr<std::string> BroadcastFrom(
    Transport& transport, std::string_view phase,
    const std::function<StatusOr<std::string>()>& make);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_RANK_EXCHANGE_H_
