// A state to save, for the storage conformance suite: what is to be in a
// checkpoint, and the source and target through which a storage sees it.

#ifndef DCP_TESTS_CONFORMANCE_STORAGE_STATE_H_
#define DCP_TESTS_CONFORMANCE_STORAGE_STATE_H_

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "conformance/bytes.h"
#include "dcp/checkpoint.h"
#include "dcp/storage.h"

namespace dcp::conformance {

/// A whole tensor, row-major.
struct StateTensor {
  DType dtype = DType::kFloat32;
  Dims sizes;
  std::string bytes;
};

/// What a checkpoint holds, by key. Objects are as EncodeObject makes them.
struct State {
  std::map<std::string, StateTensor> tensors;
  std::map<std::string, std::string> objects;
};

/// Random bytes, the same for the same seed.
inline StateTensor RandomTensor(uint64_t seed, DType dtype, Dims sizes) {
  const auto nbytes = static_cast<size_t>(Numel(sizes) * ItemSize(dtype));
  return {.dtype = dtype,
          .sizes = std::move(sizes),
          .bytes = RandomBytes(seed, nbytes)};
}

/// Calls `visit(image_byte, box_byte, nbytes)` for every row of `box` in a
/// row-major tensor of shape `sizes`.
inline void ForEachRow(
    const Dims& sizes, const Box& box, int64_t itemsize,
    const std::function<void(size_t, size_t, size_t)>& visit) {
  if (box.numel() == 0) return;
  const Dims strides = ContiguousStrides(sizes);
  const int last = box.ndim() - 1;
  const int64_t row = last < 0 ? 1 : box.sizes[last];
  Dims index = Dims::Filled(box.ndim(), 0);
  for (int64_t done = 0; done < box.numel(); done += row) {
    int64_t element = 0;
    for (int d = 0; d <= last; ++d) {
      element += (box.offsets[d] + index[d]) * strides[d];
    }
    visit(static_cast<size_t>(element * itemsize),
          static_cast<size_t>(done * itemsize),
          static_cast<size_t>(row * itemsize));
    for (int d = last - 1; d >= 0; --d) {
      if (++index[d] < box.sizes[d]) break;
      index[d] = 0;
    }
  }
}

/// The row-major bytes of a part of `tensor`.
inline std::string BytesOf(const StateTensor& tensor, const Box& box) {
  const int64_t itemsize = ItemSize(tensor.dtype);
  std::string part(static_cast<size_t>(box.numel() * itemsize), '?');
  ForEachRow(tensor.sizes, box, itemsize,
             [&](size_t from, size_t to, size_t nbytes) {
               tensor.bytes.copy(part.data() + to, nbytes, from);
             });
  return part;
}

inline WriteItem ItemOf(const std::string& fqn, const StateTensor& tensor,
                        const Box& box) {
  return {.fqn = fqn,
          .type = box == WholeBox(tensor.sizes) ? WriteItemType::kTensor
                                                : WriteItemType::kShard,
          .chunk = box,
          .global_size = tensor.sizes,
          .properties = {.dtype = tensor.dtype},
          .nbytes = box.numel() * ItemSize(tensor.dtype)};
}

inline WriteItem ItemOf(const std::string& fqn, const std::string& object) {
  return {.fqn = fqn,
          .type = WriteItemType::kByteIo,
          .nbytes = static_cast<int64_t>(object.size())};
}

/// Makes payloads on demand, every second one with gaps between its elements,
/// and takes their memory back when it is told to release.
class StateSource final : public WriteSource {
 public:
  explicit StateSource(const State& state) : state_(state) {}

  /// Resolving this key fails.
  void FailAt(std::string fqn) { fail_at_ = std::move(fqn); }
  void LimitTo(int64_t nbytes) { max_resolved_nbytes_ = nbytes; }

  StatusOr<WritePayload> Resolve(const WriteItem& item) override {
    const std::lock_guard lock(mutex_);
    if (item.fqn == fail_at_) return Unimplemented("no data for " + item.fqn);
    const bool is_first = resolved_nbytes_ == 0;
    resolved_nbytes_ += item.nbytes;
    if (!is_first && resolved_nbytes_ > max_resolved_nbytes_) {
      over_limit_ = true;
    }
    if (item.type == WriteItemType::kByteIo) {
      memory_.push_back(state_.objects.at(item.fqn));
      return WritePayload(std::string_view(memory_.back()));
    }
    const StateTensor& tensor = state_.tensors.at(item.fqn);
    memory_.push_back(BytesOf(tensor, item.chunk));
    TensorView view =
        ContiguousView(memory_.back().data(), tensor.dtype, item.chunk.sizes);
    if (memory_.size() % 2 == 0) SpreadOut(&view);
    return WritePayload(view);
  }

  int64_t max_resolved_nbytes() const override { return max_resolved_nbytes_; }

  void Release() override {
    const std::lock_guard lock(mutex_);
    for (std::string& bytes : memory_) bytes.assign(bytes.size(), '!');
    memory_.clear();
    resolved_nbytes_ = 0;
  }

  /// Whether more was resolved at once than the limit, and than one item.
  bool over_limit() const { return over_limit_; }

 private:
  /// Moves a contiguous tensor to memory where each element is followed by a
  /// gap of its own size.
  void SpreadOut(TensorView* view) {
    const auto itemsize = static_cast<size_t>(ItemSize(view->dtype));
    const std::string packed = std::move(memory_.back());
    std::string& spread = memory_.back();
    spread.assign(2 * packed.size(), '#');
    for (size_t at = 0; at < packed.size(); at += itemsize) {
      std::memcpy(spread.data() + 2 * at, packed.data() + at, itemsize);
    }
    view->data = spread.data();
    for (int d = 0; d < view->strides.size(); ++d) view->strides[d] *= 2;
  }

  const State& state_;
  std::string fail_at_;
  int64_t max_resolved_nbytes_ = std::numeric_limits<int64_t>::max();
  std::mutex mutex_;
  std::deque<std::string> memory_;
  int64_t resolved_nbytes_ = 0;
  bool over_limit_ = false;
};

/// Part of a tensor, or an object, that a reader is asked for.
struct Wanted {
  std::string fqn;
  Box box;                        ///< tensors only
  DType dtype = DType::kFloat32;  ///< in which it is wanted
  std::string bytes;              ///< what came
  int64_t items = 0;              ///< reads that it takes
  int64_t committed = 0;          ///< of them, reported as in place
};

/// Collects what a reader delivers. Thread-safe.
class WantedTarget final : public ReadTarget {
 public:
  explicit WantedTarget(std::vector<Wanted>& wanted) : wanted_(wanted) {}

  /// Resolving, or taking, this key fails.
  void FailAt(std::string fqn) { fail_at_ = std::move(fqn); }

  StatusOr<TensorView> ResolveTensor(const ReadItem& item) override {
    if (item.dest_index.fqn == fail_at_) {
      return Unimplemented("no room for " + fail_at_);
    }
    Wanted& wanted = Of(item);
    const TensorView whole =
        ContiguousView(wanted.bytes.data(), wanted.dtype, wanted.box.sizes);
    return Narrow(whole, {.offsets = item.dest_offsets, .sizes = item.lengths});
  }

  Status LoadObject(const ReadItem& item, std::string object) override {
    if (item.dest_index.fqn == fail_at_) {
      return Unimplemented("no room for " + fail_at_);
    }
    const std::lock_guard lock(mutex_);
    Of(item).bytes = std::move(object);
    ++Of(item).committed;
    return absl::OkStatus();
  }

  Status LoadOpaqueTensor(const ReadItem& item, std::string) override {
    return Internal(item.dest_index.fqn + " is a plain tensor, not opaque");
  }

  Status CommitTensor(const ReadItem& item) override {
    const std::lock_guard lock(mutex_);
    ++Of(item).committed;
    return absl::OkStatus();
  }

 private:
  Wanted& Of(const ReadItem& item) {
    return wanted_[static_cast<size_t>(item.destination)];
  }

  std::vector<Wanted>& wanted_;
  std::string fail_at_;
  std::mutex mutex_;
};

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_STORAGE_STATE_H_
