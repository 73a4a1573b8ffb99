#include "storage/file_check.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "staging/threads.h"
#include "storage/compressed_item.h"
#include "storage/grid_check.h"
#include "storage/item_check.h"
#include "storage/read_root.h"

namespace dcp {
namespace {

// Files that are open at once: two descriptors each, of the usual 1024.
constexpr size_t kMaxOpenFiles = 64;

/// One data file and what should be in it.
struct FileToCheck {
  const SidecarFile* record = nullptr;
  std::span<const StoredItem> items;  // by offset
};

using FilesToCheck = std::map<std::string, FileToCheck>;

FilesToCheck GroupByFile(const FileCheckRequest& request) {
  FilesToCheck files;
  for (const SidecarFile& record : request.sidecar.files) {
    files[record.name].record = &record;
  }
  const auto& items = request.items;
  for (size_t first = 0; first < items.size();) {
    const std::string& path = items[first].info.relative_path;
    size_t last = first + 1;
    while (last < items.size() && items[last].info.relative_path == path) {
      ++last;
    }
    files[path].items = items.subspan(first, last - first);
    first = last;
  }
  return files;
}

/// For items that nobody reads, only decodes.
class NoTarget final : public ReadTarget {
 public:
  StatusOr<TensorView> ResolveTensor(const ReadItem&) override { return Bad(); }
  Status LoadObject(const ReadItem&, std::string) override { return Bad(); }
  Status LoadOpaqueTensor(const ReadItem&, std::string) override {
    return Bad();
  }
  Status CommitTensor(const ReadItem&) override { return Bad(); }

 private:
  static Status Bad() { return Internal("an item that is checked has reads"); }
};

/// Checks some files at once.
class Batch {
 public:
  Batch(const FileCheckRequest& request, const PipelineOptions& pipeline,
        DamageLog& log)
      : request_(request),
        pipeline_(pipeline),
        log_(log),
        context_{.target = target_,
                 .device = request.device,
                 .dtype_rule = DTypeRule::kAsRecorded} {}

  void Add(const std::string& relative_path, const FileToCheck& wanted) {
    const std::string path = JoinPath(request_.directory, relative_path);
    StatusOr<OpenFile> opened = Open(path);
    if (!opened.ok()) return AddUnreadable(opened.status(), path, wanted);
    OpenFile& file = files_.emplace_back(*std::move(opened));
    file.record = wanted.record;
    if (file.record == nullptr) return AddItems(file, wanted.items);
    totals_.nbytes += std::min(file.nbytes, file.record->nbytes);
    checks_.push_back(std::make_unique<GridCheck>(file, wanted.items, log_));
  }

  StatusOr<FileCheckTotals> Run() {
    InParallel(large_.size(), [&](size_t i) { large_[i]->Prepare(); });
    DCP_RETURN_IF_ERROR(RunBlockChecks(checks_, pipeline_));
    InParallel(compressed_.size(), [&](size_t i) {
      const auto& [item, file] = compressed_[i];
      const Status status = ReadCompressedItem(*item, *file, context_);
      if (!status.ok()) log_.AddItem(status, *item);
    });
    return totals_;
  }

 private:
  StatusOr<OpenFile> Open(const std::string& path) {
    DCP_ASSIGN_OR_RETURN(auto file,
                         request_.file_system.Open(
                             path, {.direct_io = request_.io.direct_io,
                                    .beneath = ReadRoot(request_.directory)}));
    DCP_ASSIGN_OR_RETURN(const int64_t nbytes, file->Size());
    return OpenFile{.file = std::move(file), .nbytes = nbytes};
  }

  void AddUnreadable(const Status& status, const std::string& path,
                     const FileToCheck& wanted) {
    std::set<std::string_view> keys;
    for (const StoredItem& item : wanted.items) keys.insert(item.index.fqn);
    if (keys.empty()) keys.insert("");
    const std::string message = status.code() == absl::StatusCode::kNotFound
                                    ? "the file is missing"
                                    : std::string(Message(status));
    for (const std::string_view key : keys) {
      log_.Add({.fqn = std::string(key), .path = path, .message = message});
    }
  }

  /// Sorts the items of a file without checksums of its own.
  void AddItems(OpenFile& file, std::span<const StoredItem> items) {
    std::vector<const StoredItem*> small;
    int64_t end = 0;
    for (const StoredItem& item : items) {
      const auto& [path, offset, length, transforms] = item.info;
      if (offset < 0 || length < 0 || offset > file.nbytes - length) {
        log_.AddItem(DataLoss("the file ends at byte " +
                              std::to_string(file.nbytes) + ", before an item"),
                     item);
        continue;
      }
      end = std::max(end, offset + length);
      totals_.nbytes += length;
      if (!transforms.empty()) {
        compressed_.emplace_back(&item, &file);
      } else if (length > kMaxWholeCheck) {
        AddLarge(file, item);
      } else if (length > 0) {
        small.push_back(&item);
      } else {
        log_.AddItem(DataLoss("the item is empty"), item);
      }
    }
    checks_.push_back(std::make_unique<WholeItemsCheck>(file, std::move(small),
                                                        context_, log_));
    CheckEnd(file, items, end);
  }

  void AddLarge(OpenFile& file, const StoredItem& item) {
    auto check = std::make_unique<LargeItemCheck>(file, item, log_);
    large_.push_back(check.get());
    checks_.push_back(std::move(check));
  }

  /// torch's files end with their last item.
  void CheckEnd(const OpenFile& file, std::span<const StoredItem> items,
                int64_t end) {
    for (const StoredItem& item : items) {
      if (item.info.offset > file.nbytes - item.info.length) return;
    }
    if (file.nbytes == end) return;
    log_.Add({.path = file.file->path(),
              .byte_offset = end,
              .nbytes = file.nbytes - end,
              .message = "bytes follow the file's last item"});
  }

  void InParallel(size_t count, const std::function<void(size_t)>& body) {
    std::atomic<size_t> next{0};
    const auto threads =
        std::min(count, static_cast<size_t>(pipeline_.workers));
    RunOnThreads(threads, [&](size_t) {
      for (size_t i = next++; i < count; i = next++) body(i);
    });
  }

  const FileCheckRequest& request_;
  const PipelineOptions& pipeline_;
  DamageLog& log_;
  NoTarget target_;
  const DecodeContext context_;
  FileCheckTotals totals_;
  std::deque<OpenFile> files_;  // checks refer to them
  std::vector<std::unique_ptr<BlockCheck>> checks_;
  std::vector<LargeItemCheck*> large_;
  std::vector<ItemInFile> compressed_;
};

}  // namespace

StatusOr<FileCheckTotals> CheckFiles(const FileCheckRequest& request,
                                     DamageLog& log) {
  const PipelineOptions pipeline = ResolvePipelineOptions(request.io);
  const FilesToCheck files = GroupByFile(request);
  FileCheckTotals totals{.files = static_cast<int64_t>(files.size())};
  for (auto next = files.begin(); next != files.end();) {
    Batch batch(request, pipeline, log);
    for (size_t i = 0; i < kMaxOpenFiles && next != files.end(); ++i, ++next) {
      batch.Add(next->first, next->second);
    }
    DCP_ASSIGN_OR_RETURN(const FileCheckTotals checked, batch.Run());
    totals.nbytes += checked.nbytes;
  }
  return totals;
}

}  // namespace dcp
