#include "mpi/mpi_channel.h"

#include <algorithm>
#include <utility>

namespace dcp {
namespace {

constexpr uint64_t kMagic = 0x69706d2d70636400;  // "\0dcp-mpi"
constexpr uint32_t kVersion = 1;
constexpr int kTag = 1;
constexpr size_t kPieceNbytes = size_t{64} << 20;

/// What MPI may still read when its channel goes: kept until the process ends.
template <typename T>
void Abandon(T value) {
  static_cast<void>(new T(std::move(value)));
}

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

Status MpiStatus(int code, std::string_view call) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  std::string text(MPI_MAX_ERROR_STRING, '\0');
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  text.resize(static_cast<size_t>(length));
  return MakeStatus(absl::StatusCode::kUnknown,
                    std::string(call) + ": " + text);
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
  channel->incoming_.resize(static_cast<size_t>(channel->size_));
  return channel;
}

MpiChannel::~MpiChannel() {
  if (!sends_.empty()) Abandon(std::move(sends_));
  if (receipt_ != nullptr) {
    Abandon(std::move(receipt_));
    Abandon(std::move(incoming_));
  }
}

Status MpiChannel::Send(int receiver, MpiMessageKind kind,
                        std::shared_ptr<const std::string> payload) {
  OutgoingSend& send = sends_.emplace_back();
  send.receiver = receiver;
  send.envelope = {.magic = kMagic,
                   .version = kVersion,
                   .kind = static_cast<uint32_t>(kind),
                   .nbytes = payload->size()};
  send.payload = std::move(payload);
  const auto post = [&](const void* data, size_t nbytes) {
    return MpiStatus(
        MPI_Isend(data, static_cast<int>(nbytes), MPI_BYTE, receiver, kTag,
                  comm_, &send.requests.emplace_back(MPI_REQUEST_NULL)),
        "MPI_Isend to rank " + std::to_string(receiver));
  };
  DCP_RETURN_IF_ERROR(post(&send.envelope, sizeof(Envelope)));
  const std::string& bytes = *send.payload;
  for (size_t at = 0; at < bytes.size(); at += kPieceNbytes) {
    DCP_RETURN_IF_ERROR(
        post(bytes.data() + at, std::min(kPieceNbytes, bytes.size() - at)));
  }
  return absl::OkStatus();
}

Status MpiChannel::TestSends() {
  for (auto send = sends_.begin(); send != sends_.end();) {
    int done = 0;
    DCP_RETURN_IF_ERROR(MpiStatus(
        MPI_Testall(static_cast<int>(send->requests.size()),
                    send->requests.data(), &done, MPI_STATUSES_IGNORE),
        "MPI_Isend to rank " + std::to_string(send->receiver)));
    send = done != 0 ? sends_.erase(send) : std::next(send);
  }
  return absl::OkStatus();
}

std::string MpiChannel::Receivers() const {
  std::string text = "rank(s)";
  for (const OutgoingSend& send : sends_) {
    text += " " + std::to_string(send.receiver);
  }
  return text;
}

Status MpiChannel::StartReceipt() {
  int is_there = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  DCP_RETURN_IF_ERROR(MpiStatus(
      MPI_Improbe(MPI_ANY_SOURCE, kTag, comm_, &is_there, &message, &status),
      "MPI_Improbe"));
  if (is_there == 0) return absl::OkStatus();
  int count = 0;
  MPI_Get_count(&status, MPI_BYTE, &count);
  const auto nbytes = static_cast<size_t>(std::max(count, 0));
  receipt_ = std::make_unique<Receipt>();
  receipt_->sender = status.MPI_SOURCE;
  Incoming& incoming = incoming_[static_cast<size_t>(status.MPI_SOURCE)];
  receipt_->is_envelope = !incoming.message.has_value();
  void* place = &receipt_->envelope;
  const size_t had =
      receipt_->is_envelope ? 0 : incoming.message->payload.size();
  const size_t room =
      receipt_->is_envelope ? sizeof(Envelope) : incoming.nbytes - had;
  if (nbytes > room || (receipt_->is_envelope && nbytes != room)) {
    return FailedPrecondition(
        "rank " + std::to_string(status.MPI_SOURCE) + " sent " +
        std::to_string(nbytes) + " bytes where " + std::to_string(room) +
        " were expected: it runs another version of libdcp");
  }
  if (!receipt_->is_envelope) {
    incoming.message->payload.resize(had + nbytes);
    place = incoming.message->payload.data() + had;
  }
  return MpiStatus(
      MPI_Imrecv(place, count, MPI_BYTE, &message, &receipt_->request),
      "MPI_Imrecv from rank " + std::to_string(status.MPI_SOURCE));
}

StatusOr<std::optional<MpiMessage>> MpiChannel::OpenEnvelope(
    int sender, const Envelope& envelope) {
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
  Incoming& incoming = incoming_[static_cast<size_t>(sender)];
  incoming.nbytes = envelope.nbytes;
  incoming.message = std::move(message);
  return std::nullopt;
}

StatusOr<std::optional<MpiMessage>> MpiChannel::FinishReceipt() {
  int done = 0;
  DCP_RETURN_IF_ERROR(
      MpiStatus(MPI_Test(&receipt_->request, &done, MPI_STATUS_IGNORE),
                "MPI_Imrecv from rank " + std::to_string(receipt_->sender)));
  if (done == 0) return std::nullopt;
  const std::unique_ptr<Receipt> receipt = std::move(receipt_);
  if (receipt->is_envelope) {
    return OpenEnvelope(receipt->sender, receipt->envelope);
  }
  Incoming& incoming = incoming_[static_cast<size_t>(receipt->sender)];
  if (incoming.message->payload.size() < incoming.nbytes) return std::nullopt;
  return std::exchange(incoming.message, std::nullopt);
}

StatusOr<std::optional<MpiMessage>> MpiChannel::Progress() {
  DCP_RETURN_IF_ERROR(TestSends());
  for (;;) {
    if (receipt_ == nullptr) DCP_RETURN_IF_ERROR(StartReceipt());
    if (receipt_ == nullptr) return std::nullopt;
    DCP_ASSIGN_OR_RETURN(std::optional<MpiMessage> message, FinishReceipt());
    if (message || receipt_ != nullptr) return message;
  }
}

void MpiChannel::Free() { MPI_Comm_free(&comm_); }

}  // namespace dcp
