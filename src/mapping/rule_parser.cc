// A rule of a mapping, from JSON.

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/printable.h"
#include "mapping/mapping_parser.h"
#include "mapping/name_pattern.h"

namespace dcp {
namespace {

constexpr std::string_view kRuleKeys[] = {
    "native", "hf",    "native_steps", "hf_steps", "drop", "tie",
    "concat", "sizes", "stack",        "count",    "cast"};
constexpr std::string_view kTieKeys[] = {"to", "if"};
constexpr std::string_view kCastKeys[] = {"native", "hf"};
constexpr std::string_view kReshapeKeys[] = {"dim", "from", "to"};
constexpr std::string_view kSideNames[] = {"native", "hf"};

StatusOr<int> DimFrom(const JsonValue& json) {
  const auto* const number = json.As<int64_t>();
  if (number != nullptr && *number >= -Dims::kMaxDims &&
      *number < Dims::kMaxDims) {
    return static_cast<int>(*number);
  }
  return InvalidArgument("a dimension is no small whole number");
}

StatusOr<NumberExpr> ExprFrom(const JsonValue& json) {
  if (const auto* number = json.As<int64_t>()) return NumberExpr(*number);
  if (const auto* text = json.As<std::string>())
    return NumberExpr::Parse(*text);
  return InvalidArgument("a size is neither a number nor a string");
}

StatusOr<std::vector<NumberExpr>> ExprsFrom(const JsonValue& json) {
  const auto* const list = json.As<JsonValue::Array>();
  if (list == nullptr) return InvalidArgument("sizes are no list");
  std::vector<NumberExpr> sizes;
  for (const JsonValue& item : *list) {
    DCP_ASSIGN_OR_RETURN(NumberExpr size, ExprFrom(item));
    sizes.push_back(std::move(size));
  }
  return sizes;
}

StatusOr<LayoutStep> TransposeFrom(const JsonValue& json) {
  const auto* const dims = json.As<JsonValue::Array>();
  if (dims == nullptr || dims->size() != 2) {
    return InvalidArgument("\"transpose\" has not two dimensions");
  }
  LayoutStep step{.kind = LayoutStep::Kind::kTranspose};
  DCP_ASSIGN_OR_RETURN(step.dim, DimFrom((*dims)[0]));
  DCP_ASSIGN_OR_RETURN(step.other_dim, DimFrom((*dims)[1]));
  return step;
}

StatusOr<LayoutStep> ReshapeFrom(const JsonValue& json) {
  DCP_RETURN_IF_ERROR(CheckKeys(json, kReshapeKeys));
  const JsonValue* const from = json.Find("from");
  const JsonValue* const to = json.Find("to");
  if (from == nullptr || to == nullptr) {
    return InvalidArgument("\"reshape\" has not both of \"from\" and \"to\"");
  }
  LayoutStep step{.kind = LayoutStep::Kind::kReshape};
  if (const JsonValue* dim = json.Find("dim")) {
    DCP_ASSIGN_OR_RETURN(step.dim, DimFrom(*dim));
  }
  if (step.dim < 0) return InvalidArgument("\"reshape\" is not from the end");
  DCP_ASSIGN_OR_RETURN(step.from, ExprsFrom(*from));
  DCP_ASSIGN_OR_RETURN(step.to, ExprsFrom(*to));
  return step;
}

StatusOr<LayoutStep> StepFrom(const JsonValue& json) {
  const auto* const members = json.As<JsonValue::Object>();
  if (members == nullptr || members->size() != 1) {
    return InvalidArgument("a step is no object with one key");
  }
  const auto& [kind, value] = members->front();
  if (kind == "transpose") return TransposeFrom(value);
  if (kind == "reshape") return ReshapeFrom(value);
  if (kind == "swap_halves") {
    LayoutStep step{.kind = LayoutStep::Kind::kSwapHalves};
    DCP_ASSIGN_OR_RETURN(step.dim, DimFrom(value));
    return step;
  }
  if (kind == "permute_heads") {
    LayoutStep step{.kind = LayoutStep::Kind::kPermuteHeads};
    DCP_ASSIGN_OR_RETURN(NumberExpr heads, ExprFrom(value));
    step.heads.push_back(std::move(heads));
    return step;
  }
  return InvalidArgument("there is no step \"" + Printable(kind) + "\"");
}

Status ReadNames(const JsonValue& json, std::vector<std::string>* names) {
  if (const auto* name = json.As<std::string>()) {
    names->push_back(*name);
    return absl::OkStatus();
  }
  const auto* const list = json.As<JsonValue::Array>();
  if (list == nullptr || list->empty()) {
    return InvalidArgument("a name is neither a string nor a list of them");
  }
  for (const JsonValue& item : *list) {
    DCP_ASSIGN_OR_RETURN(std::string name, TextOf(item, "a name"));
    names->push_back(std::move(name));
  }
  return absl::OkStatus();
}

Status ReadSide(const JsonValue& json, std::string_view key, RuleSide* side) {
  if (const JsonValue* names = json.Find(key)) {
    DCP_RETURN_IF_ERROR(ReadNames(*names, &side->names));
  }
  if (const JsonValue* steps = json.Find(std::string(key) + "_steps")) {
    const auto* const list = steps->As<JsonValue::Array>();
    if (list == nullptr) return InvalidArgument("steps are no list");
    for (const JsonValue& item : *list) {
      DCP_ASSIGN_OR_RETURN(LayoutStep step, StepFrom(item));
      side->steps.push_back(std::move(step));
    }
  }
  const JsonValue* const casts = json.Find("cast");
  if (casts == nullptr) return absl::OkStatus();
  DCP_RETURN_IF_ERROR(CheckKeys(*casts, kCastKeys));
  const JsonValue* const cast = casts->Find(key);
  if (cast == nullptr) return absl::OkStatus();
  DCP_ASSIGN_OR_RETURN(const std::string name, TextOf(*cast, "cast"));
  side->cast = ParseDType(name);
  if (side->cast) return absl::OkStatus();
  return InvalidArgument("there is no dtype \"" + Printable(name) + "\"");
}

Status ReadKind(const JsonValue& drop, MappingRule* rule) {
  const auto* const is_dropped = drop.As<bool>();
  const auto* const condition = drop.As<std::string>();
  if (is_dropped != nullptr && *is_dropped) {
    rule->kind = MappingRule::Kind::kDrop;
  } else if (condition != nullptr && *condition == "dequantized") {
    rule->kind = MappingRule::Kind::kDropDequantized;
  } else {
    return InvalidArgument("\"drop\" is neither true nor \"dequantized\"");
  }
  return absl::OkStatus();
}

Status ReadTie(const JsonValue& json, MappingRule* rule) {
  DCP_RETURN_IF_ERROR(CheckKeys(json, kTieKeys));
  const JsonValue* const to = json.Find("to");
  const JsonValue* const condition = json.Find("if");
  if (to == nullptr || condition == nullptr) {
    return InvalidArgument("\"tie\" has not both of \"to\" and \"if\"");
  }
  RuleTie tie;
  DCP_ASSIGN_OR_RETURN(tie.to, TextOf(*to, "to"));
  DCP_ASSIGN_OR_RETURN(tie.condition, TextOf(*condition, "if"));
  rule->tie = std::move(tie);
  return absl::OkStatus();
}

Status ReadParts(const JsonValue& json, MappingRule* rule) {
  if (const JsonValue* concat = json.Find("concat")) {
    DCP_ASSIGN_OR_RETURN(rule->concat, DimFrom(*concat));
  }
  if (const JsonValue* sizes = json.Find("sizes")) {
    DCP_ASSIGN_OR_RETURN(rule->sizes, ExprsFrom(*sizes));
  }
  if (const JsonValue* stack = json.Find("stack")) {
    DCP_ASSIGN_OR_RETURN(rule->stack, TextOf(*stack, "stack"));
  }
  if (const JsonValue* count = json.Find("count")) {
    DCP_ASSIGN_OR_RETURN(NumberExpr expr, ExprFrom(*count));
    rule->count.push_back(std::move(expr));
  }
  if (const JsonValue* drop = json.Find("drop")) {
    DCP_RETURN_IF_ERROR(ReadKind(*drop, rule));
  }
  if (const JsonValue* tie = json.Find("tie")) {
    DCP_RETURN_IF_ERROR(ReadTie(*tie, rule));
  }
  return absl::OkStatus();
}

/// The placeholders that all names of a side have.
StatusOr<std::set<std::string>> PlaceholdersOf(const MappingRule& rule,
                                               size_t side) {
  std::set<std::string> shared;
  for (const std::string& name : rule.sides[side].names) {
    DCP_ASSIGN_OR_RETURN(const NamePattern pattern, NamePattern::Parse(name));
    if (pattern.has_wildcard() && rule.kind == MappingRule::Kind::kMap) {
      return InvalidArgument("a * is for what is dropped, not for " + name);
    }
    const std::set<std::string> found = pattern.placeholders();
    if (&name != &rule.sides[side].names[0] && found != shared) {
      return InvalidArgument("the names of one side differ in placeholders");
    }
    shared = found;
  }
  return shared;
}

Status CheckDrop(const MappingRule& rule) {
  const bool is_one_sided = rule.sides[kNativeSide].names.empty() !=
                            rule.sides[kHuggingFaceSide].names.empty();
  if (is_one_sided && rule.stack.empty() && !rule.tie) return absl::OkStatus();
  return InvalidArgument(
      "what is dropped has names of one side, and nothing else");
}

Status CheckMany(const MappingRule& rule) {
  const size_t many = rule.many();
  const size_t count = rule.sides[many].names.size();
  if (rule.sides[kNativeSide].names.empty() ||
      rule.sides[kHuggingFaceSide].names.empty()) {
    return InvalidArgument("it has not names of both sides");
  }
  if (rule.sides[1 - many].names.size() != 1) {
    return InvalidArgument("both sides have several names");
  }
  if (!rule.sizes.empty() && rule.sizes.size() != count) {
    return InvalidArgument("it has " + std::to_string(rule.sizes.size()) +
                           " sizes for " + std::to_string(count) + " names");
  }
  if (!rule.stack.empty() && (count != 1 || rule.concat != 0)) {
    return InvalidArgument("it stacks several names");
  }
  if (!rule.count.empty() && rule.stack.empty()) {
    return InvalidArgument("\"count\" is of what is stacked");
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<MappingRule> ParseMappingRule(const JsonValue& json) {
  DCP_RETURN_IF_ERROR(CheckKeys(json, kRuleKeys));
  MappingRule rule;
  for (size_t side = 0; side < rule.sides.size(); ++side) {
    DCP_RETURN_IF_ERROR(ReadSide(json, kSideNames[side], &rule.sides[side]));
  }
  DCP_RETURN_IF_ERROR(ReadParts(json, &rule));
  if (json.Find("concat") == nullptr &&
      std::max(rule.sides[0].names.size(), rule.sides[1].names.size()) > 1 &&
      rule.kind == MappingRule::Kind::kMap) {
    return InvalidArgument("several names need a dimension to \"concat\"");
  }
  return rule;
}

Status CheckMappingRule(const MappingRule& rule) {
  DCP_ASSIGN_OR_RETURN(auto native, PlaceholdersOf(rule, kNativeSide));
  DCP_ASSIGN_OR_RETURN(auto hf, PlaceholdersOf(rule, kHuggingFaceSide));
  if (rule.kind != MappingRule::Kind::kMap) return CheckDrop(rule);
  DCP_RETURN_IF_ERROR(CheckMany(rule));
  if (rule.tie && !native.empty()) {
    return InvalidArgument("a name that is tied has no placeholders");
  }
  auto& many = rule.many() == kNativeSide ? native : hf;
  if (!rule.stack.empty() && many.erase(rule.stack) == 0) {
    return InvalidArgument("no name has the placeholder {" + rule.stack +
                           "} that is stacked");
  }
  if (native == hf) return absl::OkStatus();
  return InvalidArgument("the two sides differ in placeholders");
}

}  // namespace dcp
