// 1. Every key finds its rule, by name; keys of one rule and the same indices,
//    but for a stacked one, are a group.
// 2. A group becomes tensors (rule_layout.cc), whose names the rule gives.
// 3. Ties add what Hugging Face's files leave out.

#include "mapping/mapping_planner.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/printable.h"
#include "mapping/dialect_choice.h"
#include "mapping/rule_layout.h"
#include "mapping/rule_matcher.h"

namespace dcp {
namespace {

/// Of the keys for which there is no rule, in a message.
constexpr size_t kMaxKeysNamed = 5;

class MappingPlanner {
 public:
  MappingPlanner(const MappingTable& table, const MappingDialect& dialect,
                 const RuleMatcher& matcher, const MappingOptions& options)
      : table_(table),
        dialect_(dialect),
        matcher_(matcher),
        options_(options) {}

  StatusOr<MappingPlan> Plan(std::span<const MappingSource> sources) && {
    sources_ = sources;
    for (size_t i = 0; i < sources.size(); ++i) {
      DCP_RETURN_IF_ERROR(AddSource(i, sources[i]));
    }
    DCP_RETURN_IF_ERROR(CheckUnknown());
    for (const Group& group : groups_) {
      DCP_RETURN_IF_ERROR(Annotate(AddTensors(group),
                                   group.sources.begin()->second.tensor->name));
    }
    if (options_.direction == MappingDirection::kToNative) {
      DCP_RETURN_IF_ERROR(AddTies());
    }
    return MappingPlan{.tensors = std::move(tensors_),
                       .ties = std::move(ties_)};
  }

 private:
  struct Group {
    size_t rule = 0;
    NameIndices indices;                    // but for the stacked one
    std::map<int64_t, RuleSource> sources;  // by name or stacked index
  };

  const MappingRule& RuleOf(const Group& group) const {
    return table_.rules[group.rule];
  }
  bool is_to_hugging_face() const {
    return options_.direction == MappingDirection::kToHuggingFace;
  }
  /// Whether Hugging Face's files have no such key.
  bool IsTied(const MappingRule& rule) const {
    if (!rule.tie) return false;
    const auto number = options_.numbers.find(rule.tie->condition);
    return number != options_.numbers.end() && number->second == 1;
  }

  Status AddSource(size_t position, const MappingSource& source) {
    if (source.is_left_out) {
      left_out_.insert(source.name);
      return absl::OkStatus();
    }
    DCP_ASSIGN_OR_RETURN(std::optional<MatchedRule> found,
                         matcher_.Find(source.name));
    if (!found) {
      unknown_.push_back(source.name);
      return absl::OkStatus();
    }
    const MappingRule& rule = table_.rules[found->rule];
    if (rule.kind != MappingRule::Kind::kMap) return absl::OkStatus();
    if (is_to_hugging_face() && rule.tie && IsTied(rule)) {
      DCP_ASSIGN_OR_RETURN(const bool is_left_out,
                           IsOtherName(*rule.tie, position));
      if (is_left_out) return absl::OkStatus();
    }
    if (source.is_object) {
      return InvalidArgument(source.name + " is an object, where rule " +
                             std::to_string(found->rule + 1) +
                             " of the mapping takes tensors");
    }
    auto part = static_cast<int64_t>(found->name);
    if (!rule.stack.empty() && matcher_.source_side() == rule.many()) {
      part = found->indices.at(rule.stack);
      found->indices.erase(rule.stack);
    }
    Group& group = GroupOf(*std::move(found));
    const bool is_new = group.sources
                            .try_emplace(part, RuleSource{.position = position,
                                                          .tensor = &source})
                            .second;
    if (is_new) return absl::OkStatus();
    return InvalidArgument("two keys are called " + source.name);
  }

  Group& GroupOf(MatchedRule found) {
    const auto [place, is_new] = places_.try_emplace(
        std::pair(found.rule, found.indices), groups_.size());
    if (is_new) {
      groups_.push_back(
          {.rule = found.rule, .indices = std::move(found.indices)});
    }
    return groups_[place->second];
  }

  Status CheckUnknown() const {
    if (unknown_.empty()) return absl::OkStatus();
    std::string names;
    const size_t count = std::min(unknown_.size(), kMaxKeysNamed);
    for (size_t i = 0; i < count; ++i) {
      names += (i == 0 ? "" : ", ") + Printable(unknown_[i]);
    }
    if (unknown_.size() > count) names += ", ...";
    return InvalidArgument(
        "the mapping " + table_.name + DialectInBrackets() +
        " has no rule for " + std::to_string(unknown_.size()) +
        " key(s): " + names +
        "; leave them out, or give a mapping of your own that has rules for "
        "them");
  }

  /// Whether the source at `position`, which `tie` says is another name of a
  /// tensor, is left out: it is not if it is known to be one of its own.
  StatusOr<bool> IsOtherName(const RuleTie& tie, size_t position) {
    const MappingSource& tied = sources_[position];
    const std::string name = dialect_.Spell(tie.to);
    const auto found =
        std::find_if(sources_.begin(), sources_.end(),
                     [&](const MappingSource& s) { return s.name == name; });
    if (found == sources_.end() || found->is_left_out) {
      return InvalidArgument(
          tied.name + " is another name of " + name + " by " + tie.condition +
          " of the model's config.json or flavor, and that is missing");
    }
    const bool is_known = !tied.identity.empty() && !found->identity.empty();
    if (is_known && tied.identity != found->identity) return false;
    if (found->sizes != tied.sizes) {
      return InvalidArgument(
          tied.name + " has the shape " + ToString(tied.sizes) + " and " +
          found->name + " has " + ToString(found->sizes) +
          ": they are not one tensor, though the model's config.json or "
          "flavor says so by " +
          tie.condition);
    }
    if (!is_known) {
      const auto kept = static_cast<size_t>(found - sources_.begin());
      ties_.push_back(
          {.source = position, .kept = kept, .condition = tie.condition});
    }
    return true;
  }

  std::string DialectInBrackets() const {
    if (dialect_.name.empty()) return "";
    return " (dialect " + dialect_.name + ")";
  }

  /// The sources of `group`, of which none may be missing.
  StatusOr<std::vector<RuleSource>> AllOf(const Group& group) const {
    const MappingRule& rule = RuleOf(group);
    std::vector<RuleSource> all;
    for (const auto& [part, source] : group.sources) {
      if (part != std::ssize(all)) break;
      all.push_back(source);
    }
    const bool is_many = matcher_.source_side() == rule.many();
    const size_t count = is_many && rule.stack.empty()
                             ? rule.sides[rule.many()].names.size()
                             : group.sources.size();
    if (all.size() == count) return all;
    DCP_ASSIGN_OR_RETURN(const std::string name,
                         NameOfPart(group, all.size(), Side::kSource));
    return InvalidArgument(name + " is missing, which belongs to it");
  }

  enum class Side : uint8_t { kSource, kTarget };
  /// Of the part number `part` of `group` on a side, which may be its only one.
  StatusOr<std::string> NameOfPart(const Group& group, size_t part,
                                   Side side) const {
    const MappingRule& rule = RuleOf(group);
    NameIndices indices = group.indices;
    if (!rule.stack.empty()) {
      indices[rule.stack] = static_cast<int64_t>(part);
      part = 0;
    }
    return side == Side::kSource
               ? matcher_.SourceName(group.rule, part, indices)
               : matcher_.TargetName(group.rule, part, indices);
  }

  Status AddTensors(const Group& group) {
    DCP_ASSIGN_OR_RETURN(const std::vector<RuleSource> sources, AllOf(group));
    DCP_ASSIGN_OR_RETURN(std::vector<MappedTensor> tensors,
                         LayOut(RuleOf(group), matcher_.source_side(), sources,
                                options_.numbers));
    for (size_t i = 0; i < tensors.size(); ++i) {
      DCP_ASSIGN_OR_RETURN(tensors[i].name,
                           NameOfPart(group, i, Side::kTarget));
      DCP_RETURN_IF_ERROR(Add(std::move(tensors[i])));
    }
    return absl::OkStatus();
  }

  Status Add(MappedTensor tensor) {
    if (!named_.try_emplace(tensor.name, tensors_.size()).second) {
      return InvalidArgument("another key becomes " + tensor.name + " as well");
    }
    tensors_.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  /// Whether no rule before number `rule` is for a name that it ties.
  StatusOr<bool> IsFirst(size_t rule, const std::string& native,
                         const std::string& hf) const {
    DCP_ASSIGN_OR_RETURN(const auto to, matcher_.FindOn(kNativeSide, native));
    DCP_ASSIGN_OR_RETURN(const auto of, matcher_.FindOn(kHuggingFaceSide, hf));
    return to && to->rule == rule && of && of->rule == rule;
  }

  Status AddTies() {
    for (size_t i = 0; i < table_.rules.size(); ++i) {
      const MappingRule& rule = table_.rules[i];
      if (!rule.tie) continue;
      const std::string name = dialect_.Spell(rule.sides[kNativeSide].names[0]);
      const std::string& hf_name = rule.sides[kHuggingFaceSide].names[0];
      const auto kept = named_.find(dialect_.Spell(rule.tie->to));
      if (named_.contains(name) || kept == named_.end()) continue;
      DCP_ASSIGN_OR_RETURN(const bool is_first, IsFirst(i, name, hf_name));
      if (!is_first || left_out_.contains(hf_name)) continue;
      if (!IsTied(rule)) {
        return InvalidArgument(
            hf_name + " is missing; if it is another name of " + kept->first +
            ", the model's config.json or flavor says so by " +
            rule.tie->condition);
      }
      MappedTensor tied = tensors_[kept->second];
      tied.name = name;
      DCP_RETURN_IF_ERROR(Add(std::move(tied)));
    }
    return absl::OkStatus();
  }

  const MappingTable& table_;
  const MappingDialect& dialect_;
  const RuleMatcher& matcher_;
  const MappingOptions& options_;
  std::span<const MappingSource> sources_;
  std::vector<std::string> unknown_;
  std::set<std::string> left_out_;
  std::vector<TiedSource> ties_;
  std::vector<Group> groups_;
  std::map<std::pair<size_t, NameIndices>, size_t> places_;  // in groups_
  std::vector<MappedTensor> tensors_;
  std::unordered_map<std::string, size_t> named_;  // in tensors_
};

}  // namespace

StatusOr<MappingPlan> PlanMapping(const MappingTable& table,
                                  std::span<const MappingSource> sources,
                                  const MappingOptions& options) {
  DCP_ASSIGN_OR_RETURN(const MappingDialect dialect,
                       ChooseDialect(table, sources, options));
  DCP_ASSIGN_OR_RETURN(const RuleMatcher matcher,
                       RuleMatcher::Make(table, dialect, options));
  return MappingPlanner(table, dialect, matcher, options).Plan(sources);
}

}  // namespace dcp
