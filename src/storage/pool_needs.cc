#include "storage/pool_needs.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "base/round_up.h"
#include "storage/block_checksums.h"
#include "storage/item_places.h"
#include "storage/tensor_sink.h"

namespace dcp {
namespace {

// Described at a time: some hundred bytes each.
constexpr size_t kItemsAtOnce = 4096;

constexpr int64_t kMaxOffset = std::numeric_limits<int64_t>::max();

bool IsPlausible(const StorageInfo& info) {
  return info.offset >= 0 && info.length > 0 &&
         info.length <= kMaxOffset - info.offset;
}

class NeedsFinder {
 public:
  NeedsFinder(const Sidecar& sidecar, const FileSizes& sizes) : sizes_(sizes) {
    for (const SidecarFile& file : sidecar.files) {
      records_.emplace(file.name, &file);
    }
  }

  void Add(const StoredItem& item) {
    if (!IsPlausible(item.info) || !item.info.transform_descriptors.empty())
      return;
    Enter(item.info.relative_path);
    const FileRange whole{.begin = item.info.offset,
                          .end = item.info.offset + item.info.length};
    if (whole.end > nbytes_) return;
    if (record_ == nullptr) {
      needs_.back().ranges.push_back(whole);
      return;
    }
    const auto place = item.type == LoadItemType::kTensor
                           ? RecordedPlace(item, {.record = record_})
                           : std::nullopt;
    if (!place) return AddCells(whole);
    for (const ByteRun& run : JoinedRuns(place->image, PartsOf(item))) {
      const int64_t begin = place->data_begin + run.byte_begin;
      AddCells({.begin = begin, .end = begin + run.nbytes});
    }
  }

  PoolNeeds Take() && {
    for (FileNeeds& file : needs_) Join(&file.ranges);
    return std::move(needs_);
  }

 private:
  /// Items come file by file.
  void Enter(const std::string& name) {
    if (!needs_.empty() && needs_.back().name == name) return;
    const auto found = records_.find(name);
    record_ = found == records_.end() ? nullptr : found->second;
    nbytes_ = record_ != nullptr ? record_->nbytes
                                 : sizes_(name).value_or(kMaxOffset);
    needs_.push_back({.name = name, .in_cells = record_ != nullptr});
  }

  static std::vector<TensorPart> PartsOf(const StoredItem& item) {
    std::vector<TensorPart> parts;
    parts.reserve(item.reads.size());
    for (const ReadItem* read : item.reads) {
      parts.push_back(
          {.box = {.offsets = read->storage_offsets, .sizes = read->lengths},
           .destination = {}});
    }
    return parts;
  }

  void AddCells(FileRange range) {
    auto& ranges = needs_.back().ranges;
    range.begin = range.begin / kChecksumBlock * kChecksumBlock;
    range.end = std::min(RoundUpTo(range.end, kChecksumBlock), record_->nbytes);
    // Many runs in one cell are one range, so that the list stays short.
    if (!ranges.empty() && range.begin >= ranges.back().begin &&
        range.begin <= ranges.back().end) {
      ranges.back().end = std::max(ranges.back().end, range.end);
      return;
    }
    ranges.push_back(range);
  }

  static void Join(std::vector<FileRange>* ranges) {
    std::sort(ranges->begin(), ranges->end(),
              [](const FileRange& a, const FileRange& b) {
                return a.begin < b.begin;
              });
    size_t kept = 0;
    for (size_t i = 1; i < ranges->size(); ++i) {
      FileRange& last = (*ranges)[kept];
      const FileRange& next = (*ranges)[i];
      if (next.begin <= last.end) {
        last.end = std::max(last.end, next.end);
      } else {
        (*ranges)[++kept] = next;
      }
    }
    if (!ranges->empty()) ranges->resize(kept + 1);
  }

  std::unordered_map<std::string_view, const SidecarFile*> records_;
  const FileSizes& sizes_;
  const SidecarFile* record_ = nullptr;  // of the last file
  int64_t nbytes_ = 0;                   // likewise, at most
  PoolNeeds needs_;
};

}  // namespace

PoolNeeds FindPoolNeeds(std::span<const LocatedRead> reads,
                        const Metadata& metadata, const Sidecar& sidecar,
                        const FileSizes& sizes) {
  NeedsFinder finder(sidecar, sizes);
  for (std::span<const LocatedRead> rest(reads); !rest.empty();) {
    const auto some = ReadsOfFirstItems(rest, kItemsAtOnce);
    for (const StoredItem& item : DescribeItems(some, metadata, {})) {
      finder.Add(item);
    }
    rest = rest.subspan(some.size());
  }
  return std::move(finder).Take();
}

int64_t NbytesOf(const PoolNeeds& needs) {
  int64_t nbytes = 0;
  for (const FileNeeds& file : needs) {
    for (const FileRange& range : file.ranges) {
      const int64_t more = range.end - range.begin;
      if (more > kMaxPoolNbytes - nbytes) return kMaxPoolNbytes + 1;
      nbytes += more;
    }
  }
  return nbytes;
}

void PutPoolNeeds(const PoolNeeds& needs, WireWriter* out) {
  out->PutVarint(needs.size());
  for (const FileNeeds& file : needs) {
    out->PutString(file.name);
    out->PutFlag(file.in_cells);
    out->PutVarint(file.ranges.size());
    int64_t last = 0;
    for (const FileRange& range : file.ranges) {
      out->PutVarint(static_cast<uint64_t>(range.begin - last));
      out->PutVarint(static_cast<uint64_t>(range.end - range.begin));
      last = range.end;
    }
  }
}

PoolNeeds GetPoolNeeds(WireReader& in) {
  PoolNeeds needs(in.Count(3));
  for (FileNeeds& file : needs) {
    file.name = in.String();
    file.in_cells = in.Flag();
    file.ranges.resize(in.Count(2));
    int64_t last = 0;
    const auto step = [&] {
      const uint64_t nbytes = in.Varint();
      const auto most = static_cast<uint64_t>(kMaxOffset - last);
      if (nbytes > most) in.Fail();
      last += static_cast<int64_t>(std::min(nbytes, most));
      return last;
    };
    for (FileRange& range : file.ranges) {
      range.begin = step();
      range.end = step();
    }
  }
  return needs;
}

}  // namespace dcp
