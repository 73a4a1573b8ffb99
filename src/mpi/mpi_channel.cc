#include "mpi/mpi_channel.h"

#include <algorithm>
#include <utility>

namespace dcp {
namespace {

constexpr uint64_t kMagic = 0x69706d2d70636400;  // "\0dcp-mpi"
constexpr uint32_t kVersion = 1;
constexpr int kTag = 1;
constexpr size_t kPieceNbytes = size_t{64} << 20;

}  // namespace

Status CheckMpiThread() {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized == 0 || finalized != 0) {
    return FailedPrecondition(
        initialized == 0 ? "MPI is not initialized: call MPI_Init_thread first"
                         : "MPI has been finalized: saves and loads end, and "
                           "transports are destroyed, before MPI_Finalize");
  }
  int level = MPI_THREAD_SINGLE;
  MPI_Query_thread(&level);
  if (level >= MPI_THREAD_SERIALIZED) return absl::OkStatus();
  int is_main = 0;
  MPI_Is_thread_main(&is_main);
  if (is_main != 0) return absl::OkStatus();
  return FailedPrecondition(
      "MPI was initialized for calls from its main thread alone, and a save in "
      "the background makes them from another: call MPI_Init_thread with "
      "MPI_THREAD_MULTIPLE");
}

Status MpiStatus(int code, std::string_view call, int rank) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  std::string text(MPI_MAX_ERROR_STRING, '\0');
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  text.resize(static_cast<size_t>(length));
  std::string what(call);
  if (rank >= 0) what += " (rank " + std::to_string(rank) + ")";
  return MakeStatus(absl::StatusCode::kUnknown, what + ": " + text);
}

StatusOr<std::unique_ptr<MpiChannel>> MpiChannel::Make(MPI_Comm comm) {
  std::unique_ptr<MpiChannel> channel(new MpiChannel(comm));
  DCP_RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN),
                "MPI_Comm_set_errhandler"));
  DCP_RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_rank(comm, &channel->rank_), "MPI_Comm_rank"));
  DCP_RETURN_IF_ERROR(
      MpiStatus(MPI_Comm_size(comm, &channel->size_), "MPI_Comm_size"));
  channel->in_flight_->incoming.resize(static_cast<size_t>(channel->size_));
  return channel;
}

MpiChannel::~MpiChannel() {
  // NOLINTNEXTLINE(bugprone-unused-return-value): left to MPI
  if (is_moving()) static_cast<void>(in_flight_.release());
}

Status MpiChannel::Send(int receiver, MpiMessageKind kind,
                        std::shared_ptr<const std::string> payload) {
  const std::string& bytes = *payload;
  MpiOutgoing& send = in_flight_->sends.emplace_back();
  send.receiver = receiver;
  send.envelope = {.magic = kMagic,
                   .version = kVersion,
                   .kind = static_cast<uint32_t>(kind),
                   .nbytes = bytes.size()};
  send.payload = std::move(payload);
  // Nothing may fail for want of memory once the first part is on its way.
  send.requests.reserve(1 + (bytes.size() + kPieceNbytes - 1) / kPieceNbytes);
  const auto post = [&](const void* data, size_t nbytes) {
    return MpiStatus(
        MPI_Isend(data, static_cast<int>(nbytes), MPI_BYTE, receiver, kTag,
                  comm_, &send.requests.emplace_back(MPI_REQUEST_NULL)),
        "MPI_Isend", receiver);
  };
  DCP_RETURN_IF_ERROR(post(&send.envelope, sizeof(MpiEnvelope)));
  for (size_t at = 0; at < bytes.size(); at += kPieceNbytes) {
    DCP_RETURN_IF_ERROR(
        post(bytes.data() + at, std::min(kPieceNbytes, bytes.size() - at)));
  }
  return absl::OkStatus();
}

Status MpiChannel::TestSends() {
  std::list<MpiOutgoing>& sends = in_flight_->sends;
  for (auto send = sends.begin(); send != sends.end();) {
    int done = 0;
    DCP_RETURN_IF_ERROR(MpiStatus(
        MPI_Testall(static_cast<int>(send->requests.size()),
                    send->requests.data(), &done, MPI_STATUSES_IGNORE),
        "MPI_Isend", send->receiver));
    send = done != 0 ? sends.erase(send) : std::next(send);
  }
  return absl::OkStatus();
}

bool MpiChannel::is_sending_to(int rank) const {
  return std::any_of(
      in_flight_->sends.begin(), in_flight_->sends.end(),
      [rank](const MpiOutgoing& send) { return send.receiver == rank; });
}

std::string MpiChannel::Receivers() const {
  std::string text = "rank(s)";
  for (const MpiOutgoing& send : in_flight_->sends) {
    text += " " + std::to_string(send.receiver);
  }
  return text;
}

std::optional<int> MpiChannel::sender_at_work() const {
  const std::optional<MpiReceipt>& receipt = in_flight_->receipt;
  if (!receipt) return std::nullopt;
  return receipt->sender;
}

Status MpiChannel::StartReceipt() {
  if (is_broken_) {
    return FailedPrecondition("a message of another rank was lost before");
  }
  int is_there = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  DCP_RETURN_IF_ERROR(MpiStatus(
      MPI_Improbe(MPI_ANY_SOURCE, kTag, comm_, &is_there, &message, &status),
      "MPI_Improbe"));
  if (is_there == 0) return absl::OkStatus();
  is_broken_ = true;  // until it is being received
  DCP_RETURN_IF_ERROR(Receive(message, status));
  is_broken_ = false;
  return absl::OkStatus();
}

Status MpiChannel::Receive(MPI_Message message, const MPI_Status& status) {
  int count = 0;
  MPI_Get_count(&status, MPI_BYTE, &count);
  const auto nbytes = static_cast<size_t>(std::max(count, 0));
  MpiIncoming& incoming =
      in_flight_->incoming[static_cast<size_t>(status.MPI_SOURCE)];
  const size_t had = incoming.message ? incoming.message->payload.size() : 0;
  const size_t room =
      incoming.message ? incoming.nbytes - had : sizeof(MpiEnvelope);
  if (nbytes > room || (!incoming.message && nbytes != room)) {
    return FailedPrecondition(
        "rank " + std::to_string(status.MPI_SOURCE) + " sent " +
        std::to_string(nbytes) + " bytes where " + std::to_string(room) +
        " were expected: it runs another version of libdcp");
  }
  if (incoming.message) incoming.message->payload.resize(had + nbytes);
  MpiReceipt& receipt = in_flight_->receipt.emplace();
  receipt.sender = status.MPI_SOURCE;
  receipt.is_envelope = !incoming.message.has_value();
  void* const place =
      incoming.message
          ? static_cast<void*>(incoming.message->payload.data() + had)
          : &receipt.envelope;
  const int code =
      MPI_Imrecv(place, count, MPI_BYTE, &message, &receipt.request);
  if (code != MPI_SUCCESS) in_flight_->receipt.reset();
  return MpiStatus(code, "MPI_Imrecv", status.MPI_SOURCE);
}

StatusOr<std::optional<MpiMessage>> MpiChannel::OpenEnvelope(
    int sender, const MpiEnvelope& envelope) {
  if (envelope.magic != kMagic || envelope.version != kVersion) {
    return FailedPrecondition(
        "rank " + std::to_string(sender) +
        (envelope.magic != kMagic
             ? " sent what is not a message of libdcp"
             : " speaks version " + std::to_string(envelope.version) +
                   " of the protocol between ranks, and this one " +
                   std::to_string(kVersion) +
                   ": all ranks need the same libdcp"));
  }
  MpiMessage message{.sender = sender,
                     .kind = static_cast<MpiMessageKind>(envelope.kind)};
  if (envelope.nbytes == 0) return message;
  MpiIncoming& incoming = in_flight_->incoming[static_cast<size_t>(sender)];
  incoming.nbytes = envelope.nbytes;
  incoming.message = std::move(message);
  return std::nullopt;
}

StatusOr<std::optional<MpiMessage>> MpiChannel::FinishReceipt() {
  std::optional<MpiReceipt>& underway = in_flight_->receipt;
  if (!underway) return std::nullopt;
  int done = 0;
  DCP_RETURN_IF_ERROR(
      MpiStatus(MPI_Test(&underway->request, &done, MPI_STATUS_IGNORE),
                "MPI_Imrecv", underway->sender));
  if (done == 0) return std::nullopt;
  const MpiReceipt receipt = *underway;
  underway.reset();
  if (receipt.is_envelope) {
    return OpenEnvelope(receipt.sender, receipt.envelope);
  }
  MpiIncoming& incoming =
      in_flight_->incoming[static_cast<size_t>(receipt.sender)];
  const bool is_whole =
      incoming.message && incoming.message->payload.size() >= incoming.nbytes;
  if (!is_whole) return std::nullopt;
  return std::exchange(incoming.message, std::nullopt);
}

StatusOr<std::optional<MpiMessage>> MpiChannel::Progress() {
  DCP_RETURN_IF_ERROR(TestSends());
  for (;;) {
    if (!in_flight_->receipt) DCP_RETURN_IF_ERROR(StartReceipt());
    if (!in_flight_->receipt) return std::nullopt;
    DCP_ASSIGN_OR_RETURN(std::optional<MpiMessage> message, FinishReceipt());
    if (message || in_flight_->receipt) return message;
  }
}

void MpiChannel::Free() { MPI_Comm_free(&comm_); }

}  // namespace dcp
