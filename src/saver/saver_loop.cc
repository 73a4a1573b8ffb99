#include "saver/saver_loop.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/mutex.h"
#include "checkpoint/order_entries.h"
#include "checkpoint/save_answer.h"
#include "checkpoint/save_order.h"
#include "checkpoint/saver_channel.h"
#include "checkpoint/staged_state.h"
#include "io/watched_file_system.h"
#include "saver/record_transport.h"

namespace dcp {
namespace {

using Cancelled = std::function<bool()>;

constexpr auto kAliveBeat = std::chrono::milliseconds(500);

/// Adds to another transport that the save may be cancelled, and what phase it
/// is in.
class OrderTransport final : public Transport {
 public:
  OrderTransport(Transport& inner, const Cancelled& cancelled)
      : inner_(inner), cancelled_(cancelled) {}

  int rank() const override { return inner_.rank(); }
  int world_size() const override { return inner_.world_size(); }
  int coordinator() const override { return inner_.coordinator(); }
  StatusOr<std::vector<std::string>> Gather(std::string_view message) override {
    // Planning takes more than one question.
    if (phase_ == "write") phase_ = "plan";
    return inner_.Gather(message);
  }
  StatusOr<std::string> Scatter(
      std::span<const std::string> messages) override {
    auto reply = inner_.Scatter(messages);
    if (reply.ok()) phase_ = "write";
    return reply;
  }
  StatusOr<std::string> Broadcast(std::string_view message) override {
    return inner_.Broadcast(message);
  }
  Status AwaitAll(std::string_view phase) override {
    phase_ = "write";
    DCP_RETURN_IF_ERROR(inner_.AwaitAll(phase));
    phase_ = "commit";
    return absl::OkStatus();
  }
  /// An error of this rank's data, which the save brings to all ranks.
  Status Check() override {
    if (cancelled_()) {
      return WithDetail(FailedPrecondition("the save was cancelled"),
                        {.op = kCancelOp});
    }
    return inner_.Check();
  }

  const std::string& phase() const { return phase_; }

 private:
  Transport& inner_;
  const Cancelled& cancelled_;
  std::string phase_ = "plan";
};

/// The part of the segment that an order is about.
class Mapping {
 public:
  static StatusOr<std::unique_ptr<Mapping>> Make(int fd,
                                                 const SaveOrder& order) {
    const auto nbytes = static_cast<size_t>(order.memory_nbytes);
    if (nbytes == 0) return std::make_unique<Mapping>(std::span<std::byte>());
    struct stat segment = {};
    if (::fstat(fd, &segment) != 0) {
      return ErrnoToStatus(errno, {.op = "fstat of shared memory"});
    }
    if (order.memory_offset > segment.st_size ||
        order.memory_nbytes > segment.st_size - order.memory_offset) {
      return DataLoss("an order is about memory beyond the end");
    }
    void* const memory = ::mmap(nullptr, nbytes, PROT_READ, MAP_SHARED, fd,
                                static_cast<off_t>(order.memory_offset));
    if (memory == MAP_FAILED) {
      return ErrnoToStatus(errno, {.op = "mmap of shared memory",
                                   .nbytes = order.memory_nbytes});
    }
    return std::make_unique<Mapping>(
        std::span(static_cast<std::byte*>(memory), nbytes));
  }

  explicit Mapping(std::span<std::byte> memory) : memory_(memory) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (!memory_.empty()) (void)::munmap(memory_.data(), memory_.size());
  }

  std::span<std::byte> memory() const { return memory_; }

 private:
  const std::span<std::byte> memory_;
};

StatusOr<std::unique_ptr<RecordTransport>> OpenTransport(
    const SaveOrder& order) {
  return RecordTransport::Open(
      std::make_shared<WatchedFileSystem>(MakePosixFileSystem(),
                                          order.io().stall_timeout),
      MakeSystemClock(),
      {.directory = order.path(),
       .session_id = order.session_id(),
       .rank = order.rank,
       .world_size = order.world_size,
       .coordinator = order.coordinator,
       .patience = order.patience});
}

/// What went wrong between the savers, as a failure of the rank to blame.
Status AsFailure(const Status& status, int rank, const std::string& phase) {
  if (status.ok() || GetRankFailures(status)) return status;
  const bool is_gone = status.code() == absl::StatusCode::kAborted;
  const Status failure =
      is_gone ? MakeStatus(absl::StatusCode::kUnavailable,
                           std::string(Message(status)) + "; phase: " + phase)
              : status;
  return MakeRankFailures({.phase = phase, .by_rank = {{rank, failure}}});
}

std::unique_ptr<StorageWriter> MakeWriter(const SaveOrder& order) {
  const StorageEnvironment environment{.device_runtime = MakeNoDeviceRuntime()};
  if (const auto* hf = std::get_if<HuggingFaceWriterOptions>(&order.writer)) {
    return MakeHuggingFaceWriter(*hf, environment);
  }
  return MakeFileSystemWriter(std::get<FileSystemWriterOptions>(order.writer),
                              environment);
}

StatusOr<SaveResult> SaveEntries(const SaveOrder& order,
                                 std::span<const SaveEntry> entries,
                                 const Cancelled& cancelled) {
  const std::unique_ptr<StorageWriter> writer = MakeWriter(order);
  std::unique_ptr<Transport> alone;
  std::unique_ptr<RecordTransport> together;
  if (order.world_size == 1) {
    alone = MakeSingleProcessTransport();
  } else {
    auto opened = OpenTransport(order);
    if (!opened.ok()) return AsFailure(opened.status(), order.rank, "plan");
    together = *std::move(opened);
  }
  OrderTransport transport(alone ? *alone : *together, cancelled);
  auto saved = Save(entries, *writer, transport, order.save);
  if (saved.ok()) return saved;
  return AsFailure(saved.status(),
                   together ? together->failed_rank() : order.rank,
                   transport.phase());
}

StatusOr<SaveResult> CarryOut(std::string_view data, const SaverPlace& place,
                              const std::shared_ptr<Trace>& trace) {
  DCP_ASSIGN_OR_RETURN(ParsedSaveOrder parsed, ParseSaveOrder(data));
  (void)::umask(parsed.order.umask);
  DCP_ASSIGN_OR_RETURN(const auto mapping,
                       Mapping::Make(place.memory, parsed.order));
  DCP_ASSIGN_OR_RETURN(const std::vector<SaveEntry> entries,
                       ParseOrderEntries(parsed.entries, mapping->memory()));
  parsed.order.save.trace = trace;
  parsed.order.save.plan_cache = place.plan_cache;
  return SaveEntries(parsed.order, entries, place.cancelled);
}

/// The orders that came and are not carried out. Its thread receives.
class OrderQueue {
 public:
  explicit OrderQueue(int socket)
      : channel_(socket), thread_([this] { Receive(); }) {}
  OrderQueue(const OrderQueue&) = delete;
  OrderQueue& operator=(const OrderQueue&) = delete;
  ~OrderQueue() { thread_.join(); }

  /// nullopt: there will be none.
  std::optional<std::string> Next() {
    const MutexLock lock(mutex_);
    while (orders_.empty() && !is_at_end_) changed_.Wait(mutex_);
    if (orders_.empty()) return std::nullopt;
    std::string order = std::move(orders_.front());
    orders_.pop_front();
    is_at_work_ = true;
    return order;
  }

  void Answer(const std::string& answer) {
    is_at_work_ = false;
    // Nobody waits for it if this fails.
    channel_.Send(SaverMessageKind::kAnswer, answer, std::chrono::hours(1))
        .IgnoreError();
  }

  bool is_cancelled() const { return is_cancelled_; }

 private:
  void Receive() {
    bool is_open = true;
    while (is_open) {
      is_open = Guarded([this] { return ReceiveOne(); }).ok();
    }
    const MutexLock lock(mutex_);
    is_at_end_ = true;
    changed_.NotifyAll();
  }

  Status ReceiveOne() {
    DCP_ASSIGN_OR_RETURN(auto message, channel_.Receive(kAliveBeat));
    if (is_at_work_) {
      channel_.Send(SaverMessageKind::kAlive, {}, Clock::Duration(0))
          .IgnoreError();
    }
    if (!message) return absl::OkStatus();
    if (message->kind == SaverMessageKind::kCancel) is_cancelled_ = true;
    if (message->kind != SaverMessageKind::kOrder) return absl::OkStatus();
    is_cancelled_ = false;  // the order before has been answered
    const MutexLock lock(mutex_);
    orders_.push_back(std::move(message->content));
    changed_.NotifyAll();
    return absl::OkStatus();
  }

  SaverChannel channel_;
  std::atomic<bool> is_cancelled_ = false;
  std::atomic<bool> is_at_work_ = false;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::string> orders_ ABSL_GUARDED_BY(mutex_);
  bool is_at_end_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace

std::string CarryOutOrder(std::string_view order, const SaverPlace& place) {
  const auto begin = std::chrono::steady_clock::now();
  const std::shared_ptr<Trace> trace = Trace::Make();
  const StatusOr<SaveResult> result =
      Guarded([&] { return CarryOut(order, place, trace); });
  std::vector<TraceSpan> spans = trace->spans();
  for (TraceSpan& span : spans) {
    span.begin += begin.time_since_epoch();
    span.end += begin.time_since_epoch();
  }
  return SerializeSaveAnswer(result, spans);
}

void RunSaver(int socket, int memory) {
  OrderQueue orders(socket);
  const SaverPlace place{.memory = memory,
                         .cancelled = [&] { return orders.is_cancelled(); },
                         .plan_cache = std::make_shared<PlanCache>()};
  while (const auto order = orders.Next()) {
    orders.Answer(CarryOutOrder(*order, place));
  }
}

}  // namespace dcp
