#include "checkpoint/rank_exchange.h"

#include <utility>

#include "base/free_memory.h"
#include "base/guarded.h"

namespace dcp {
namespace {

// First byte of a sealed message.
constexpr char kPayload = 'P';
constexpr char kError = 'E';

bool IsCoordinator(const Transport& transport) {
  return transport.rank() == transport.coordinator();
}

/// Opens all messages, which may be large and are freed one by one; OK only if
/// every rank sent a payload.
StatusOr<std::vector<std::string>> OpenAll(std::vector<std::string> messages,
                                           std::string_view phase) {
  std::vector<std::string> payloads;
  RankFailures failures{.phase = std::string(phase), .by_rank = {}};
  for (size_t rank = 0; rank < messages.size(); ++rank) {
    StatusOr<std::string> payload = OpenMessage(messages[rank]);
    FreeMemory(&messages[rank]);
    if (payload.ok()) {
      payloads.push_back(*std::move(payload));
    } else {
      failures.by_rank.emplace(static_cast<int>(rank), payload.status());
    }
  }
  if (!failures.by_rank.empty()) return MakeRankFailures(failures);
  return payloads;
}

Status AsFailureOf(int rank, std::string_view phase, const Status& status) {
  if (GetRankFailures(status)) return status;
  return MakeRankFailures(
      {.phase = std::string(phase), .by_rank = {{rank, status}}});
}

}  // namespace

bool WasInterrupted(const Status& status) {
  return status.code() == absl::StatusCode::kCancelled &&
         !GetRankFailures(status);
}

std::string SealMessage(StatusOr<std::string> content) {
  if (content.ok()) {
    std::string message = *std::move(content);
    message.insert(message.begin(), kPayload);
    return message;
  }
  return kError + SerializeStatus(content.status());
}

StatusOr<std::string> OpenMessage(std::string_view message) {
  if (message.empty()) return DataLoss("an empty message between ranks");
  const std::string_view body = message.substr(1);
  if (message[0] == kPayload) return std::string(body);
  Status error;
  if (message[0] == kError) {
    DCP_RETURN_IF_ERROR(ParseStatus(body, &error));
    if (!error.ok()) return error;
  }
  return DataLoss("a garbled message between ranks");
}

StatusOr<std::string> ReduceScatter(Transport& transport,
                                    std::string_view phase,
                                    StatusOr<std::string> local,
                                    const ReduceToEach& reduce) {
  if (WasInterrupted(local.status())) return local.status();
  DCP_ASSIGN_OR_RETURN(std::vector<std::string> gathered,
                       transport.Gather(SealMessage(std::move(local))));
  std::vector<std::string> replies;
  if (IsCoordinator(transport)) {
    Status reduced = Guarded([&]() -> Status {
      DCP_ASSIGN_OR_RETURN(auto payloads, OpenAll(std::move(gathered), phase));
      DCP_ASSIGN_OR_RETURN(auto results, reduce(std::move(payloads)));
      for (std::string& result : results) {
        replies.push_back(SealMessage(std::move(result)));
      }
      return absl::OkStatus();
    });
    if (WasInterrupted(reduced)) return reduced;
    if (!reduced.ok()) {
      replies.assign(
          static_cast<size_t>(transport.world_size()),
          SealMessage(AsFailureOf(transport.rank(), phase, reduced)));
    }
  }
  DCP_ASSIGN_OR_RETURN(const std::string reply, transport.Scatter(replies));
  return OpenMessage(reply);
}

StatusOr<std::string> AllReduce(Transport& transport, std::string_view phase,
                                StatusOr<std::string> local,
                                const ReduceToOne& reduce) {
  if (WasInterrupted(local.status())) return local.status();
  DCP_ASSIGN_OR_RETURN(std::vector<std::string> gathered,
                       transport.Gather(SealMessage(std::move(local))));
  return BroadcastFrom(transport, phase, [&]() -> StatusOr<std::string> {
    DCP_ASSIGN_OR_RETURN(std::vector<std::string> payloads,
                         OpenAll(std::move(gathered), phase));
    return reduce(std::move(payloads));
  });
}

StatusOr<std::string> BroadcastFrom(
    Transport& transport, std::string_view phase,
    const std::function<StatusOr<std::string>()>& make) {
  std::string message;
  if (IsCoordinator(transport)) {
    StatusOr<std::string> made = make();
    if (WasInterrupted(made.status())) return made.status();
    message =
        made.ok()
            ? SealMessage(std::move(made))
            : SealMessage(AsFailureOf(transport.rank(), phase, made.status()));
  }
  DCP_ASSIGN_OR_RETURN(const std::string received,
                       transport.Broadcast(message));
  return OpenMessage(received);
}

}  // namespace dcp
