#include "plan/holder_classes.h"

#include <algorithm>
#include <utility>

#include "plan/key_table.h"

namespace dcp {
namespace {

/// What all ranks have to agree on, as ItemGroups checks it of plans.
bool Agree(const TensorProperties& a, const TensorProperties& b) {
  return a.dtype == b.dtype && a.layout == b.layout;
}

}  // namespace

Status NotClosedForm(const std::string& why) {
  return Unimplemented("the state has no plan in closed form: " + why);
}

StatusOr<HolderClasses> HolderClasses::Make(
    std::span<const StateSpec> specs, std::span<const uint32_t> spec_of_rank) {
  HolderClasses classes(specs, spec_of_rank);
  DCP_RETURN_IF_ERROR(classes.CountRanks());
  DCP_RETURN_IF_ERROR(classes.AddMeshes());
  const std::vector<Use> uses = classes.NumberKeys();
  for (size_t begin = 0, end = 0; begin < uses.size(); begin = end) {
    while (end < uses.size() && uses[end].key == uses[begin].key) ++end;
    DCP_RETURN_IF_ERROR(
        classes.Classify(std::span(uses).subspan(begin, end - begin)));
  }
  return classes;
}

Status HolderClasses::CountRanks() {
  grids_.resize(specs_.size());
  ranks_of_.resize(specs_.size());
  std::vector<uint32_t> lasts(specs_.size());
  for (uint32_t rank = 0; rank < spec_of_rank_.size(); ++rank) {
    const uint32_t spec = spec_of_rank_[rank];
    if (spec >= specs_.size()) {
      return NotClosedForm("rank " + std::to_string(rank) + " has the spec " +
                           std::to_string(spec) + " of " +
                           std::to_string(specs_.size()));
    }
    HolderGrid& grid = grids_[spec];
    if (grid.count++ == 0) {
      grid.first = rank;
      spec_order_.push_back(spec);
    }
    lasts[spec] = rank;
  }
  for (size_t i = 0; i < grids_.size(); ++i) {
    HolderGrid& grid = grids_[i];
    grid.sizes = {grid.count};
    users_.push_back({static_cast<uint32_t>(i)});
    grid.is_run = grid.count == 0 || lasts[i] - grid.first + 1 == grid.count;
    if (!grid.is_run) ranks_of_[i].reserve(static_cast<size_t>(grid.count));
  }
  if (spec_order_.size() > 1) {
    for (uint32_t rank = 0; rank < spec_of_rank_.size(); ++rank) {
      const uint32_t spec = spec_of_rank_[rank];
      if (!grids_[spec].is_run) ranks_of_[spec].push_back(rank);
    }
  }
  for (size_t i = 0; i < grids_.size(); ++i) grids_[i].ranks = ranks_of_[i];
  return absl::OkStatus();
}

Status HolderClasses::AddMeshes() {
  grid_of_.resize(specs_.size());
  known_classes_.resize(specs_.size());
  for (const uint32_t spec : spec_order_) {
    const Status status = CheckStateSpec(specs_[spec]);
    if (!status.ok()) return NotClosedForm(std::string(Message(status)));
    for (const DeviceMesh& mesh : specs_[spec].meshes) {
      DCP_RETURN_IF_ERROR(AddMesh(mesh, &grid_of_[spec].emplace_back()));
    }
    known_classes_[spec].resize(specs_[spec].layouts.size() + 1);
  }
  return absl::OkStatus();
}

Status HolderClasses::AddMesh(const DeviceMesh& mesh, uint32_t* number) {
  const std::span<const uint32_t> ranks = mesh.ranks;
  for (size_t i = specs_.size(); i < grids_.size(); ++i) {
    if (grids_[i].sizes == mesh.sizes &&
        std::equal(ranks.begin(), ranks.end(), grids_[i].ranks.begin())) {
      *number = static_cast<uint32_t>(i);
      return absl::OkStatus();
    }
  }
  HolderGrid grid = HolderGrid::Of(mesh);
  std::vector<uint32_t> users;
  std::vector<bool> seen(grid.is_ascending ? 0 : spec_of_rank_.size());
  std::vector<bool> is_user(specs_.size());
  for (const uint32_t rank : ranks) {
    if (rank >= spec_of_rank_.size() || (!seen.empty() && seen[rank])) {
      return NotClosedForm(
          "a device mesh of the sizes " + ToString(mesh.sizes) + " has rank " +
          std::to_string(rank) + " of " + std::to_string(spec_of_rank_.size()) +
          ", or has it twice");
    }
    if (!seen.empty()) seen[rank] = true;
    const uint32_t spec = spec_of_rank_[rank];
    if (is_user[spec]) continue;
    is_user[spec] = true;
    users.push_back(spec);
  }
  int64_t count = 0;
  for (const uint32_t spec : users) count += grids_[spec].count;
  if (count != grid.count) users.clear();
  *number = static_cast<uint32_t>(grids_.size());
  grids_.push_back(std::move(grid));
  users_.push_back(std::move(users));
  return absl::OkStatus();
}

std::vector<HolderClasses::Use> HolderClasses::NumberKeys() {
  size_t count = 0;
  for (const uint32_t spec : spec_order_) count += specs_[spec].entries.size();
  KeyTable table(count);
  std::vector<Use> uses;
  uses.reserve(count);
  key_of_.resize(specs_.size());
  for (const uint32_t spec : spec_order_) {
    const std::vector<StateEntry>& entries = specs_[spec].entries;
    for (uint32_t entry = 0; entry < entries.size(); ++entry) {
      const uint32_t key = table.NumberOf(entries[entry].fqn);
      if (key == keys_.size()) keys_.push_back({.spec = spec, .entry = entry});
      key_of_[spec].push_back(key);
      uses.push_back({.key = key, .spec = spec, .entry = entry});
    }
  }
  const auto by_key = [](const Use& a, const Use& b) { return a.key < b.key; };
  if (!std::is_sorted(uses.begin(), uses.end(), by_key)) {
    std::stable_sort(uses.begin(), uses.end(), by_key);
  }
  return uses;
}

uint32_t& HolderClasses::KnownClass(const Use& use) {
  const auto* laid_out = std::get_if<LaidOutTensor>(&EntryOf(use).value);
  std::vector<uint32_t>& known = known_classes_[use.spec];
  return laid_out == nullptr ? known.back() : known[laid_out->layout];
}

Status HolderClasses::Classify(std::span<const Use> uses) {
  uint32_t unknown = 0;
  uint32_t& known = uses.size() == 1 ? KnownClass(uses[0]) : unknown;
  if (known != 0) {
    keys_[uses[0].key].holder_class = known - 1;
    return absl::OkStatus();
  }
  DCP_RETURN_IF_ERROR(CheckUses(uses));
  HolderClass found = ClassOf(uses);
  DCP_RETURN_IF_ERROR(CheckGrids(uses, found));
  const auto same =
      std::find_if(classes_.begin(), classes_.end(), [&](const auto& other) {
        return other.grids == found.grids &&
               other.replicated == found.replicated;
      });
  keys_[uses[0].key].holder_class =
      static_cast<uint32_t>(same - classes_.begin());
  known = keys_[uses[0].key].holder_class + 1;
  if (same == classes_.end()) classes_.push_back(std::move(found));
  return absl::OkStatus();
}

Status HolderClasses::CheckUses(std::span<const Use> uses) const {
  const StateEntry& first = EntryOf(uses[0]);
  for (size_t i = 1; i < uses.size(); ++i) {
    const StateEntry& other = EntryOf(uses[i]);
    bool is_same = first.value.index() == other.value.index() &&
                   uses[i].spec != uses[i - 1].spec;
    if (const auto* a = std::get_if<LaidOutTensor>(&first.value);
        is_same && a != nullptr) {
      const TensorLayout& a_layout = LayoutOf(uses[0]);
      const TensorLayout& b_layout = LayoutOf(uses[i]);
      is_same =
          Agree(a->properties,
                std::get<LaidOutTensor>(other.value).properties) &&
          a_layout.global_size == b_layout.global_size &&
          a_layout.placements == b_layout.placements &&
          grids_[GridOfUse(uses[0])].sizes == grids_[GridOfUse(uses[i])].sizes;
    } else if (const auto* whole = std::get_if<WholeTensor>(&first.value);
               is_same && whole != nullptr) {
      const auto& b = std::get<WholeTensor>(other.value);
      is_same = Agree(whole->properties, b.properties) && whole->size == b.size;
    }
    if (!is_same) {
      return NotClosedForm(first.fqn +
                           " is not the same in all states that have it");
    }
  }
  return absl::OkStatus();
}

Status HolderClasses::CheckGrids(std::span<const Use> uses,
                                 const HolderClass& found) const {
  size_t users = 0;
  for (const uint32_t grid : found.grids) users += users_[grid].size();
  bool is_same = users == uses.size();
  for (const Use& use : uses) {
    const std::vector<uint32_t>& specs = users_[GridOfUse(use)];
    is_same = is_same &&
              std::find(specs.begin(), specs.end(), use.spec) != specs.end();
  }
  if (is_same) return absl::OkStatus();
  return NotClosedForm("the ranks that have " + EntryOf(uses[0]).fqn +
                       " are not those of its device mesh");
}

HolderClass HolderClasses::ClassOf(std::span<const Use> uses) const {
  HolderClass found;
  for (const Use& use : uses) {
    found.grids.push_back(GridOfUse(use));
    found.specs.push_back(use.spec);
  }
  std::sort(found.grids.begin(), found.grids.end());
  found.grids.erase(std::unique(found.grids.begin(), found.grids.end()),
                    found.grids.end());
  if (std::holds_alternative<LaidOutTensor>(EntryOf(uses[0]).value)) {
    for (const Placement& placement : LayoutOf(uses[0]).placements) {
      found.replicated.push_back(placement.kind == Placement::Kind::kReplicate);
    }
  } else {
    found.replicated = {true};
  }
  found.begins = {0};
  for (const uint32_t grid : found.grids) {
    int64_t count = 1;
    for (int d = 0; d < grids_[grid].sizes.size(); ++d) {
      if (found.replicated[static_cast<size_t>(d)]) {
        count *= grids_[grid].sizes[d];
      }
    }
    found.begins.push_back(found.begins.back() + count);
  }
  return found;
}

const TensorLayout& HolderClasses::LayoutOf(const Use& use) const {
  const auto& laid_out = std::get<LaidOutTensor>(EntryOf(use).value);
  return specs_[use.spec].layouts[laid_out.layout];
}

uint32_t HolderClasses::GridOfUse(const Use& use) const {
  const bool is_laid_out =
      std::holds_alternative<LaidOutTensor>(EntryOf(use).value);
  return is_laid_out ? grid_of_[use.spec][LayoutOf(use).mesh] : use.spec;
}

std::optional<Seat> HolderClasses::SeatOf(const HolderClass& in,
                                          uint32_t rank) const {
  for (size_t i = 0; i < in.grids.size(); ++i) {
    const HolderGrid& grid = grids_[in.grids[i]];
    const std::optional<int64_t> index = grid.Find(rank);
    if (!index) continue;
    Seat seat{.grid = i, .coordinate = CoordinateOf(*index, grid.sizes)};
    for (int d = 0; d < grid.sizes.size(); ++d) {
      if (!in.replicated[static_cast<size_t>(d)]) continue;
      seat.holder = seat.holder * grid.sizes[d] + seat.coordinate[d];
    }
    seat.holder += in.begins[i];
    return seat;
  }
  return std::nullopt;
}

uint32_t HolderClasses::FirstChunkHolder(const HolderClass& of,
                                         int64_t holder) const {
  const auto after =
      std::upper_bound(of.begins.begin(), of.begins.end(), holder);
  const auto slot = static_cast<size_t>(after - of.begins.begin()) - 1;
  const HolderGrid& grid = grids_[of.grids[slot]];
  int64_t rest = holder - of.begins[slot];
  Dims coordinate = Dims::Filled(grid.sizes.size(), 0);
  for (int d = grid.sizes.size() - 1; d >= 0; --d) {
    if (!of.replicated[static_cast<size_t>(d)]) continue;
    coordinate[d] = rest % grid.sizes[d];
    rest /= grid.sizes[d];
  }
  return grid.RankAt(IndexOf(coordinate, grid.sizes));
}

}  // namespace dcp
