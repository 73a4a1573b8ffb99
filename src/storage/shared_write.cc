#include "storage/shared_write.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/round_up.h"
#include "base/traced.h"
#include "staging/pipeline_options.h"
#include "staging/write_pipeline.h"
#include "storage/shared_filler.h"
#include "storage/write_items.h"

namespace dcp {
namespace {

StatusOr<std::vector<SharedSource>> ResolveAll(const SavePlan& plan,
                                               WriteSource& source) {
  std::vector<SharedSource> sources;
  sources.reserve(plan.items.size());
  source.ReadLater();
  for (const WriteItem& item : plan.items) {
    if (WriteStream* const stream = source.StreamOf(item)) {
      sources.push_back({.stream = stream, .item = &item});
      continue;
    }
    DCP_ASSIGN_OR_RETURN(const WritePayload payload, ResolveItem(source, item));
    const auto* view = std::get_if<TensorView>(&payload);
    if (view == nullptr) {
      return InvalidArgument(item.fqn +
                             " is stored encoded, and safetensors files hold "
                             "plain tensors");
    }
    sources.push_back({.view = *view});
  }
  return sources;
}

/// How long a rank may be busy with others before those that wait for it give
/// up, as in torch's process groups: one that is slow is no error, one that is
/// gone closes its connections, and one whose storage hangs fails by itself.
constexpr auto kPeerPatience = std::chrono::minutes(30);

/// A file of which this rank writes something.
struct OpenedFile {
  std::unique_ptr<WatchedFile> file;
  size_t number = 0;  ///< in the part
  bool writes_end = false;
  bool may_be_padded = false;  ///< also if direct I/O is refused later
};

/// One write of a part.
class Operation {
 public:
  Operation(const SharedWriter& writer, const SharedPart& part,
            const ItemPositions& positions, std::vector<SharedSource> sources,
            WriteSource& source)
      : writer_(writer),
        part_(part),
        sources_(std::move(sources)),
        checksums_(part.files.size()),
        filler_(part, positions, sources_,
                {.rank = writer.rank,
                 .device = writer.device,
                 .checksums = checksums_,
                 .source = source}) {}

  Status Open() {
    for (size_t f = 0; f < part_.files.size(); ++f) {
      const SharedPartFile& file = part_.files[f];
      OpenedFile opened{.number = f};
      for (const OwnedExtent& extent : file.extents) {
        if (extent.owner != writer_.rank) continue;
        if (!opened.file) {
          DCP_ASSIGN_OR_RETURN(
              opened.file, file.is_own ? MakeOwn(file) : OpenShared(file.path));
          opened.may_be_padded = opened.file->direct_io().has_value();
        }
        opened.writes_end = opened.writes_end || extent.end == file.nbytes;
        regions_.push_back({.file = opened.file->unwatched(),
                            .begin = extent.begin,
                            .end = extent.end});
        filler_.AddRegion(f);
      }
      if (opened.file) files_.push_back(std::move(opened));
    }
    return absl::OkStatus();
  }

  /// Closes `listener` as soon as all ranks have come to it.
  Status Write(std::unique_ptr<PeerListener>& listener, WriteSource& source) {
    PipelineOptions options = MakeOptions(source);
    std::unique_ptr<PeerExchange> exchange;
    const std::vector<PeerTraffic> traffic = filler_.Traffic();
    const bool comes_in_order =
        std::any_of(traffic.begin(), traffic.end(),
                    [](const PeerTraffic& t) { return !t.incoming.empty(); }) ||
        std::any_of(sources_.begin(), sources_.end(),
                    [](const SharedSource& s) { return s.stream != nullptr; });
    if (!traffic.empty()) {
      DCP_ASSIGN_OR_RETURN(exchange,
                           PeerExchange::Start(listener.get(), traffic, filler_,
                                               {.rank = writer_.rank,
                                                .proceed = options.proceed,
                                                .timeout = kPeerPatience}));
      filler_.Connect(*exchange);
    }
    listener.reset();
    Status written = RunWritePipeline(
        regions_, comes_in_order ? InOrder() : WriteOrder::kAny, filler_,
        options);
    if (!exchange) return written;
    if (!written.ok()) {
      exchange->Cancel(written);
      return written;
    }
    return exchange->Finish();
  }

  Status Close() {
    for (OpenedFile& opened : files_) {
      if (opened.writes_end && opened.may_be_padded) {
        DCP_RETURN_IF_ERROR(
            opened.file->Truncate(part_.files[opened.number].nbytes));
      }
      if (writer_.sync == SyncMode::kSync) {
        DCP_RETURN_IF_ERROR(opened.file->Sync());
      }
      DCP_RETURN_IF_ERROR(opened.file->Close());
    }
    return absl::OkStatus();
  }

  SharedOutcome TakeOutcome() {
    SharedOutcome outcome;
    for (BlockChecksums& checksums : checksums_) {
      outcome.push_back(checksums.TakePieces());
    }
    return outcome;
  }

 private:
  StatusOr<std::unique_ptr<WatchedFile>> OpenShared(const std::string& path) {
    auto file = writer_.file_system.OpenWatched(
        path, {.mode = OpenMode::kShared, .direct_io = writer_.io.direct_io});
    if (file.status().code() == absl::StatusCode::kNotFound) {
      return Annotate(file.status(),
                      "the coordinator made the file, and this rank does not "
                      "see it: safetensors are saved to a directory that all "
                      "ranks share");
    }
    return file;
  }

  StatusOr<std::unique_ptr<WatchedFile>> MakeOwn(const SharedPartFile& file) {
    DCP_ASSIGN_OR_RETURN(auto made,
                         writer_.file_system.OpenWatched(
                             file.path, {.mode = OpenMode::kCreateNew,
                                         .direct_io = writer_.io.direct_io}));
    DCP_RETURN_IF_ERROR(made->Truncate(file.nbytes));
    DCP_RETURN_IF_ERROR(made->Allocate(file.nbytes));
    return made;
  }

  bool has_direct() const {
    return std::any_of(files_.begin(), files_.end(), [](const OpenedFile& f) {
      return f.file->direct_io().has_value();
    });
  }

  /// Past the page cache blocks are handed out in order whatever the number of
  /// workers; through it every region is for one worker to begin with.
  WriteOrder InOrder() const {
    return has_direct() ? WriteOrder::kAny : WriteOrder::kSequential;
  }

  PipelineOptions MakeOptions(WriteSource& source) const {
    PipelineOptions options =
        ResolvePipelineOptions(writer_.io, sources_.size());
    // Blocks are whole cells.
    options.direct_block_nbytes =
        RoundUpTo(options.direct_block_nbytes, kSharedCellNbytes);
    options.buffered_block_nbytes =
        RoundUpTo(options.buffered_block_nbytes, kSharedCellNbytes);
    if (!has_direct()) {
      // The kernel lets one thread at a time write to a file of the cache.
      options.workers = std::clamp(
          options.workers, 1, std::max(1, static_cast<int>(files_.size())));
    }
    options.proceed = [&source] { return source.Proceed(); };
    options.rate = writer_.rate;
    options.trace = source.trace();
    return options;
  }

  const SharedWriter& writer_;
  const SharedPart& part_;
  const std::vector<SharedSource> sources_;
  std::vector<BlockChecksums> checksums_;
  SharedFiller filler_;
  std::vector<OpenedFile> files_;
  std::vector<FileRegion> regions_;
};

/// Has no data to send, because of `why`.
class FailedSource final : public MessageSource {
 public:
  explicit FailedSource(Status why) : why_(std::move(why)) {}
  Status Read(int, size_t, int64_t, std::span<std::byte>) override {
    return why_;
  }

 private:
  const Status why_;
};

/// Meets the ranks that would wait for this one, and ends the exchange: it
/// failed before it began to write.
void TellPeers(const SharedWriter& writer, const SharedPart& part,
               const PeerListener& listener, WriteSource& source,
               const Status& why) {
  const std::vector<PeerTraffic> traffic =
      TrafficOf(part, MessagesOf(part, writer.rank));
  // Who gave up (Ctrl-C) meets nobody any more; the others see that it left.
  if (traffic.empty() || why.code() == absl::StatusCode::kCancelled) return;
  FailedSource nothing(why);
  const auto exchange =
      PeerExchange::Start(&listener, traffic, nothing,
                          {.rank = writer.rank,
                           .proceed = [&source] { return source.Proceed(); },
                           .timeout = writer.io.stall_timeout});
  if (exchange.ok()) (*exchange)->Cancel(why);
}

StatusOr<SharedOutcome> WriteAndClose(const SharedWriter& writer,
                                      const SavePlan& plan,
                                      const SharedPart& part,
                                      std::unique_ptr<PeerListener>& listener,
                                      WriteSource& source) {
  DCP_ASSIGN_OR_RETURN(const ItemPositions positions,
                       FindItems(plan, part, writer.rank));
  DCP_ASSIGN_OR_RETURN(std::vector<SharedSource> sources,
                       ResolveAll(plan, source));
  Operation operation(writer, part, positions, std::move(sources), source);
  DCP_RETURN_IF_ERROR(operation.Open());
  DCP_RETURN_IF_ERROR(operation.Write(listener, source));
  source.Release();
  DCP_RETURN_IF_ERROR(
      Traced(source.trace().get(), "sync", [&] { return operation.Close(); }));
  return operation.TakeOutcome();
}

}  // namespace

StatusOr<SharedOutcome> WriteSharedPart(const SharedWriter& writer,
                                        const SavePlan& plan,
                                        const SharedPart& part,
                                        std::unique_ptr<PeerListener> listener,
                                        WriteSource& source) {
  StatusOr<SharedOutcome> outcome = Guarded(
      [&] { return WriteAndClose(writer, plan, part, listener, source); });
  if (!outcome.ok() && listener) {
    TellPeers(writer, part, *listener, source, outcome.status());
  }
  return outcome;
}

}  // namespace dcp
