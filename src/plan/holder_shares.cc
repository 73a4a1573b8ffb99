// How shares are dealt, so that every rank finds the same from the specs alone:
//
// 1. Class by class, those with the fewest holders first: what many may write
//    comes last and evens out what few had to.
// 2. Within a class largest first, each to the holder with the least load so
//    far; large chunks in units (as balance.cc does it for all ranks at once).
// 3. What counts is the first chunk of a key, which as a rule is the largest:
//    every chunk is dealt alike. So the largest load is that of the ranks with
//    the first chunks, and where layouts are uneven the others have less.
// 4. A holder begins with the load that classes before gave the rank which
//    holds the first chunk at this number. That is exact where the classes
//    before are replicated along some of this one's dimensions (HSDP, and norms
//    that tensor parallelism replicates as well), and a sample where not.
//    What only one rank holds counts as what it is, even if uneven.
// 5. Of many holders as many, evenly spaced, take part as there are units to
//    deal, kMaxWriters at most: more would cost every rank time, and write less
//    than is worth a file.
//
// Who changes what comes of this changes kVersions in planning_messages.cc: to
// ranks of two versions of dcp the digests say that they agree.

#include "plan/holder_shares.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

#include "plan/class_writers.h"
#include "plan/split_units.h"

namespace dcp {
namespace {

constexpr int64_t kMaxWriters = 1024;
constexpr int64_t kFewWriters = 64;  // all take part, if there are no more

/// A key in equal units of work.
struct Task {
  uint32_t key = 0;
  int64_t nbytes = 0;  ///< of the first chunk
  int64_t rows = 1;
  int64_t units = 1;
  int64_t unit_nbytes() const {
    return units == 1 ? nbytes : rows / units * (nbytes / rows);
  }
};

class Dealer {
 public:
  Dealer(const HolderClasses& holders, int64_t split_nbytes)
      : holders_(holders), split_nbytes_(split_nbytes) {
    shares_.resize(holders.keys().size());
    dealt_.resize(holders.specs().size());
    uneven_.resize(holders.classes().size());
    MakeTasks();
  }

  std::vector<KeyShares> Run() && {
    std::vector<size_t> order(tasks_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return holders_.classes()[a].holder_count() <
             holders_.classes()[b].holder_count();
    });
    for (const size_t number : order) {
      Deal(number);
      for (const uint32_t spec : holders_.classes()[number].specs) {
        dealt_[spec].push_back(number);
      }
    }
    return std::move(shares_);
  }

 private:
  using Entry = std::pair<int64_t, size_t>;  // load, writer
  using Heap = std::priority_queue<Entry, std::vector<Entry>, std::greater<>>;

  /// Fills first_chunks_, tasks_ and writers_.
  void MakeTasks() {
    first_chunks_.resize(holders_.specs().size());
    for (const uint32_t number : holders_.SpecOrder()) {
      const StateSpec& spec = holders_.specs()[number];
      std::vector<Box>& chunks = first_chunks_[number];
      for (const TensorLayout& layout : spec.layouts) {
        const Dims& sizes = spec.meshes[layout.mesh].sizes;
        chunks.push_back(
            KnownChunkAt(layout, sizes, Dims::Filled(sizes.size(), 0)));
      }
    }
    tasks_.resize(holders_.classes().size());
    for (uint32_t i = 0; i < holders_.keys().size(); ++i) {
      tasks_[holders_.keys()[i].holder_class].push_back(TaskOf(i));
    }
    for (size_t i = 0; i < tasks_.size(); ++i) {
      int64_t units = 0;
      for (const Task& task : tasks_[i]) units += task.units;
      writers_.emplace_back(holders_.classes()[i].holder_count(),
                            std::clamp(units, kFewWriters, kMaxWriters));
    }
  }

  Task TaskOf(uint32_t number) const {
    const StateKey& key = holders_.keys()[number];
    const StateEntry& entry = holders_.EntryOf(key);
    Task task{.key = number};
    const Dims* sizes = nullptr;
    int64_t itemsize = 0;
    if (const auto* laid_out = std::get_if<LaidOutTensor>(&entry.value)) {
      sizes = &first_chunks_[key.spec][laid_out->layout].sizes;
      itemsize = ItemSize(laid_out->properties.dtype);
      task.nbytes = Numel(*sizes) * itemsize;
    } else if (const auto* whole = std::get_if<WholeTensor>(&entry.value)) {
      sizes = &whole->size;
      itemsize = ItemSize(whole->properties.dtype);
      task.nbytes = whole->nbytes;
    } else {
      task.nbytes = std::get<StateObject>(entry.value).nbytes;
    }
    // What is stored encoded cannot be cut.
    if (sizes == nullptr || sizes->empty() || (*sizes)[0] < 2 ||
        task.nbytes % itemsize != 0 ||
        task.nbytes / itemsize != Numel(*sizes)) {
      return task;
    }
    task.rows = (*sizes)[0];
    const int64_t holders = holders_.classes()[key.holder_class].holder_count();
    if (holders == 1) return task;
    task.units = SplitUnits(task.rows, task.nbytes,
                            std::min(holders, kMaxWriters), split_nbytes_);
    return task;
  }

  void Deal(size_t number) {
    std::vector<Task>& tasks = tasks_[number];
    ClassWriters& writers = writers_[number];
    if (writers.count() == 1) {
      for (const Task& task : tasks) GiveAlone(number, task);
      return;
    }
    std::stable_sort(tasks.begin(), tasks.end(),
                     [](const Task& a, const Task& b) {
                       return a.unit_nbytes() > b.unit_nbytes();
                     });
    StartLoads(number);
    for (const Task& task : tasks) {
      if (task.units > 1) {
        DealUnits(task, &writers);
      } else {
        DealWhole(task, &writers);
      }
    }
  }

  void GiveAlone(size_t number, const Task& task) {
    const StateKey& key = holders_.keys()[task.key];
    const auto* tensor =
        std::get_if<LaidOutTensor>(&holders_.EntryOf(key).value);
    if (tensor == nullptr) {
      writers_[number].Give(0, task.nbytes);
      return;
    }
    const StateSpec& spec = holders_.specs()[key.spec];
    const TensorLayout& layout = spec.layouts[tensor->layout];
    const Dims& mesh_sizes = spec.meshes[layout.mesh].sizes;
    const int64_t itemsize = ItemSize(tensor->properties.dtype);
    // All are as large as the first one, if they are all of the tensor so.
    const int64_t numel = Numel(layout.global_size);
    const int64_t ranks = Numel(mesh_sizes);
    if (numel % ranks == 0 && numel / ranks == task.nbytes / itemsize) {
      writers_[number].Give(0, task.nbytes);
      return;
    }
    for (UnevenLayout& known : uneven_[number]) {
      if (known.layout != &layout) continue;
      known.itemsizes += itemsize;
      return;
    }
    uneven_[number].push_back({&layout, &mesh_sizes, itemsize});
  }

  /// What classes before gave `rank`.
  int64_t LoadOf(uint32_t rank) const {
    int64_t load = 0;
    for (const size_t before : dealt_[holders_.spec_of_rank()[rank]]) {
      const auto seat = holders_.SeatOf(holders_.classes()[before], rank);
      if (!seat) continue;
      const auto& [grid, coordinate, holder] = *seat;
      load += writers_[before].GivenTo(holder);
      for (const UnevenLayout& layout : uneven_[before]) {
        load += layout.NbytesAt(coordinate);
      }
    }
    return load;
  }

  /// Fills loads_ with what classes before gave the writers of a class.
  void StartLoads(size_t number) {
    const HolderClass& of = holders_.classes()[number];
    const ClassWriters& writers = writers_[number];
    loads_.clear();
    for (size_t i = 0; i < writers.count(); ++i) {
      loads_.push_back(
          LoadOf(holders_.FirstChunkHolder(of, writers.HolderOf(i))));
    }
    std::vector<Entry> entries;
    for (size_t i = 0; i < loads_.size(); ++i) {
      entries.emplace_back(loads_[i], i);
    }
    heap_ = Heap(std::greater<>(), std::move(entries));
  }

  /// The least loaded writer; of several, the first.
  size_t Next() {
    for (;;) {
      const auto [load, writer] = heap_.top();
      if (load == loads_[writer]) return writer;
      heap_.pop();  // the load has grown since
      heap_.emplace(loads_[writer], writer);
    }
  }

  void DealWhole(const Task& task, ClassWriters* writers) {
    const size_t writer = Next();
    loads_[writer] += task.nbytes;
    writers->Give(writer, task.nbytes);
    shares_[task.key].owner = writers->HolderOf(writer);
  }

  void DealUnits(const Task& task, ClassWriters* writers) {
    std::vector<int64_t> units(writers->count());
    for (int64_t i = 0; i < task.units; ++i) {
      const size_t writer = Next();
      ++units[writer];
      loads_[writer] += task.unit_nbytes();
    }
    KeyShares& shares = shares_[task.key];
    shares.units = task.units;
    int64_t unit = 0;
    for (size_t i = 0; i < units.size(); ++i) {
      if (units[i] == 0) continue;
      const UnitRun run{.holder = writers->HolderOf(i),
                        .begin = unit,
                        .end = unit + units[i]};
      const int64_t rows = FirstRowOfUnit(task.rows, task.units, run.end) -
                           FirstRowOfUnit(task.rows, task.units, run.begin);
      const int64_t nbytes = rows * (task.nbytes / task.rows);
      loads_[i] += nbytes - units[i] * task.unit_nbytes();
      writers->Give(i, nbytes);
      shares.runs.push_back(run);
      unit = run.end;
    }
  }

  const HolderClasses& holders_;
  const int64_t split_nbytes_;
  std::vector<KeyShares> shares_;
  std::vector<std::vector<Box>> first_chunks_;     // by spec, then layout
  std::vector<std::vector<Task>> tasks_;           // by class
  std::vector<ClassWriters> writers_;              // by class
  std::vector<std::vector<UnevenLayout>> uneven_;  // by class
  std::vector<std::vector<size_t>> dealt_;         // classes, by spec
  // Of the class being dealt: loads by writer, and what they were at least.
  std::vector<int64_t> loads_;
  Heap heap_;
};

}  // namespace

std::vector<KeyShares> DealShares(const HolderClasses& holders,
                                  int64_t split_nbytes) {
  return Dealer(holders, split_nbytes).Run();
}

}  // namespace dcp
