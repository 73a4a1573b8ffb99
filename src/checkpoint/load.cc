// A load, start to finish:
// 1. The coordinator reads the metadata once; every rank gets its bytes.
// 2. Every rank makes its entries and plans its reads by itself.
// 3. All ranks learn whether all could plan; only then is memory written.
// 4. Every rank reads, and decodes what it read. No message is pending
//    meanwhile.
// 5. All ranks learn whether all could.

#include <utility>

#include "base/wire.h"
#include "checkpoint/load_planning.h"
#include "checkpoint/rank_exchange.h"
#include "dcp/checkpoint.h"

namespace dcp {
namespace {

StatusOr<std::string> Encode(const StatusOr<CheckpointIndex>& index) {
  DCP_RETURN_IF_ERROR(index.status());
  DCP_ASSIGN_OR_RETURN(const std::string metadata,
                       SerializeMetadata(index->metadata));
  WireWriter out;
  out.PutString(metadata);
  out.PutString(index->storage_data);
  return std::move(out).Take();
}

StatusOr<CheckpointIndex> Decode(std::string_view message) {
  WireReader in(message, "the checkpoint's metadata");
  const std::string_view metadata = in.String();
  CheckpointIndex index{.storage_data = std::string(in.String())};
  DCP_RETURN_IF_ERROR(in.Finish());
  DCP_ASSIGN_OR_RETURN(index.metadata, ParseMetadata(metadata));
  return index;
}

StatusOr<std::string> NothingOr(const Status& status) {
  if (status.ok()) return std::string();
  return status;
}

/// All ranks get OK, or all get the failures of those that failed.
Status AgreeOn(Transport& transport, std::string_view phase,
               const Status& local) {
  return AllReduce(transport, phase, NothingOr(local),
                   [](const std::vector<std::string>&) {
                     return StatusOr<std::string>("");
                   })
      .status();
}

class LoadOperation {
 public:
  LoadOperation(LoadRequest& request, StorageReader& reader,
                Transport& transport, const LoadOptions& options)
      : request_(request),
        reader_(reader),
        transport_(transport),
        options_(options),
        role_{.rank = transport.rank(),
              .world_size = transport.world_size(),
              .is_coordinator = transport.rank() == transport.coordinator()} {}

  StatusOr<LoadResult> Run() {
    DCP_ASSIGN_OR_RETURN(const bool has_index, ShareIndex());
    Status planned = Plan(has_index);
    DCP_RETURN_IF_ERROR(AgreeOn(transport_, "plan", planned));
    const Status read = Read();
    DCP_RETURN_IF_ERROR(transport_.AwaitAll("read"));
    DCP_RETURN_IF_ERROR(AgreeOn(transport_, "read", read));
    return std::move(result_);
  }

 private:
  // First byte of the coordinator's message.
  static constexpr char kGlobal = 'G';   // metadata of the whole checkpoint
  static constexpr char kPerRank = 'R';  // every rank has its own

  /// Whether there is global metadata; index_ holds it then.
  StatusOr<bool> ShareIndex() {
    DCP_ASSIGN_OR_RETURN(
        const std::string message,
        BroadcastFrom(transport_, "plan", [this]() -> StatusOr<std::string> {
          StatusOr<CheckpointIndex> index = reader_.ReadIndex();
          if (index.status().code() == absl::StatusCode::kNotFound &&
              reader_.ReadRankIndex(role_.rank).ok()) {
            return std::string(1, kPerRank);
          }
          DCP_RETURN_IF_ERROR(index.status());
          if (role_.world_size == 1) {
            index_ = *std::move(index);
            return std::string(1, kGlobal);
          }
          DCP_ASSIGN_OR_RETURN(const std::string encoded, Encode(index));
          return kGlobal + encoded;
        }));
    if (message[0] == kPerRank) return false;
    if (role_.world_size > 1) {
      DCP_ASSIGN_OR_RETURN(index_, Decode(std::string_view(message).substr(1)));
    }
    return true;
  }

  Status Plan(bool has_index) {
    if (!has_index) {
      DCP_ASSIGN_OR_RETURN(index_, reader_.ReadRankIndex(role_.rank));
    }
    DCP_RETURN_IF_ERROR(reader_.SetUp(index_, role_));
    DCP_ASSIGN_OR_RETURN(entries_, request_.MakeEntries(index_.metadata));
    DCP_ASSIGN_OR_RETURN(
        plan_, MakeLoadPlan(entries_, index_.metadata, options_, &result_));
    return absl::OkStatus();
  }

  Status Read() {
    EntryTarget target(entries_);
    const int64_t before = reader_.nbytes_read();
    DCP_RETURN_IF_ERROR(reader_.ReadData(plan_, target));
    result_.objects = target.TakeObjects();
    result_.nbytes_read = reader_.nbytes_read() - before;
    return request_.Accept(result_);
  }

  LoadRequest& request_;
  StorageReader& reader_;
  Transport& transport_;
  const LoadOptions& options_;
  const StorageRole role_;
  CheckpointIndex index_;
  std::vector<LoadEntry> entries_;
  LoadPlan plan_;
  LoadResult result_;
};

/// Entries that do not depend on the checkpoint.
class FixedRequest final : public LoadRequest {
 public:
  explicit FixedRequest(std::span<const LoadEntry> entries)
      : entries_(entries) {}

  StatusOr<std::vector<LoadEntry>> MakeEntries(const Metadata&) override {
    return std::vector<LoadEntry>(entries_.begin(), entries_.end());
  }

 private:
  std::span<const LoadEntry> entries_;
};

}  // namespace

StatusOr<LoadResult> Load(LoadRequest& request, StorageReader& reader,
                          Transport& transport, const LoadOptions& options) {
  return LoadOperation(request, reader, transport, options).Run();
}

StatusOr<LoadResult> Load(const std::string& path,
                          std::span<const LoadEntry> entries) {
  FixedRequest request(entries);
  const auto reader = MakeFileSystemReader({.path = path});
  const auto transport = MakeSingleProcessTransport();
  return Load(request, *reader, *transport, {});
}

}  // namespace dcp
