// HolderClasses: who holds what in a state of closed form.
//
// Keys whose chunks are held by the same sets of ranks are a class: all tensors
// that a mesh replicates along the same dimensions, say. A chunk's holders are
// numbered, and number `i` is alike in all of them: it has the same coordinates
// in the replicated dimensions. So what is decided for the first chunk of a key
// holds for every chunk of it, and no rank looks at more than the specs.

#ifndef DCP_PLAN_HOLDER_CLASSES_H_
#define DCP_PLAN_HOLDER_CLASSES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/status.h"
#include "plan/holder_grid.h"
#include "plan/state_spec.h"

namespace dcp {

struct HolderClass {
  /// Numbers of the grids, of the same shape if anything is sharded. Every rank
  /// is in one of them at most.
  std::vector<uint32_t> grids;
  std::vector<bool> replicated;  ///< by dimension of the grids
  std::vector<uint32_t> specs;   ///< those whose ranks are in the grids
  /// The number of each grid's first holder of a chunk, and how many there are.
  std::vector<int64_t> begins;
  int64_t holder_count() const { return begins.back(); }
};

/// Where a rank is in a class.
struct Seat {
  size_t grid = 0;     ///< position in HolderClass::grids
  Dims coordinate;     ///< in the grid
  int64_t holder = 0;  ///< its number among the holders of its chunks
};

/// One fqn of all specs.
struct StateKey {
  uint32_t spec = 0;  ///< the one of the lowest rank
  uint32_t entry = 0;
  uint32_t holder_class = 0;
};

/// Immutable. Refers to the specs and numbers that it is made of.
class HolderClasses {
 public:
  HolderClasses(HolderClasses&&) = default;  // grids refer to ranks_of_
  HolderClasses& operator=(HolderClasses&&) = default;

  /// \error kUnimplemented  the state is not of closed form, the message says
  ///     why (see ClosedFormPlan::Make)
  static StatusOr<HolderClasses> Make(std::span<const StateSpec> specs,
                                      std::span<const uint32_t> spec_of_rank);

  std::span<const StateSpec> specs() const { return specs_; }
  std::span<const uint32_t> spec_of_rank() const { return spec_of_rank_; }
  /// In the order in which they first appear, by rank.
  std::span<const StateKey> keys() const { return keys_; }
  std::span<const HolderClass> classes() const { return classes_; }
  /// The numbers of the keys of a spec's entries.
  std::span<const uint32_t> KeysOf(size_t spec) const { return key_of_[spec]; }
  /// The specs that are used, in the order of their lowest ranks.
  std::span<const uint32_t> SpecOrder() const { return spec_order_; }
  const StateEntry& EntryOf(const StateKey& key) const {
    return specs_[key.spec].entries[key.entry];
  }
  const HolderGrid& GridOf(const HolderClass& from, size_t slot) const {
    return grids_[from.grids[slot]];
  }
  /// nullopt if `rank` holds nothing of the class.
  std::optional<Seat> SeatOf(const HolderClass& in, uint32_t rank) const;
  /// Holder `holder` of the first chunk.
  uint32_t FirstChunkHolder(const HolderClass& of, int64_t holder) const;

 private:
  /// An entry of one spec that is a key.
  struct Use {
    uint32_t key = 0;
    uint32_t spec = 0;
    uint32_t entry = 0;
  };

  HolderClasses(std::span<const StateSpec> specs,
                std::span<const uint32_t> spec_of_rank)
      : specs_(specs), spec_of_rank_(spec_of_rank) {}

  /// Fills spec_order_ and a grid for each spec.
  Status CountRanks();
  /// Fills the other grids, users_ and grid_of_.
  Status AddMeshes();
  Status AddMesh(const DeviceMesh& mesh, uint32_t* number);
  /// Fills keys_ and key_of_; the uses of all keys, by key.
  std::vector<Use> NumberKeys();
  Status Classify(std::span<const Use> uses);
  /// Where to keep the class of an entry that only one spec has: entries of one
  /// layout, and whole ones, are alike.
  uint32_t& KnownClass(const Use& use);
  Status CheckUses(std::span<const Use> uses) const;
  Status CheckGrids(std::span<const Use> uses, const HolderClass& found) const;
  HolderClass ClassOf(std::span<const Use> uses) const;
  uint32_t GridOfUse(const Use& use) const;
  const StateEntry& EntryOf(const Use& use) const {
    return specs_[use.spec].entries[use.entry];
  }
  const TensorLayout& LayoutOf(const Use& use) const;

  std::span<const StateSpec> specs_;
  std::span<const uint32_t> spec_of_rank_;
  std::vector<uint32_t> spec_order_;
  std::vector<HolderGrid> grids_;  // of specs, by number, then of meshes
  std::vector<std::vector<uint32_t>> ranks_of_;  // by spec; empty for runs
  // The specs of a grid's ranks; empty if some of their ranks are not in it.
  std::vector<std::vector<uint32_t>> users_;
  std::vector<std::vector<uint32_t>> grid_of_;  // by spec, then mesh
  std::vector<StateKey> keys_;
  std::vector<std::vector<uint32_t>> key_of_;  // by spec, then entry
  std::vector<HolderClass> classes_;
  // By spec, then by layout and last for whole ones: class + 1, 0 for unknown.
  std::vector<std::vector<uint32_t>> known_classes_;
};

/// The error of a state that has to be planned from all ranks' plans.
Status NotClosedForm(const std::string& why);

}  // namespace dcp

#endif  // DCP_PLAN_HOLDER_CLASSES_H_
