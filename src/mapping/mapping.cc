#include "dcp/mapping.h"

#include <algorithm>
#include <utility>

#include "base/printable.h"
#include "format/json_value.h"
#include "mapping/builtin_mappings.h"
#include "mapping/mapping_parser.h"
#include "mapping/mapping_planner.h"
#include "mapping/mapping_table.h"

namespace dcp {
namespace {

/// Adds the numbers of `json`, an object, with `prefix` before their names.
void AddNumbers(const JsonValue& json, const std::string& prefix,
                ModelNumbers* numbers) {
  const auto* const members = json.As<JsonValue::Object>();
  if (members == nullptr) return;
  for (const auto& [key, value] : *members) {
    const std::string name = prefix + key;
    if (const auto* number = value.As<int64_t>()) {
      numbers->emplace(name, *number);
    } else if (const auto* truth = value.As<bool>()) {
      numbers->emplace(name, *truth ? 1 : 0);
    } else {
      AddNumbers(value, name + ".", numbers);
    }
  }
}

/// Adds `more` to `*numbers`, unless they contradict each other.
Status MergeNumbers(const ModelNumbers& more, ModelNumbers* numbers) {
  for (const auto& [name, number] : more) {
    const auto [other, is_new] = numbers->emplace(name, number);
    if (is_new || other->second == number) continue;
    return InvalidArgument("the model's config.json has " +
                           std::to_string(other->second) + " as " + name +
                           ", the flavor has " + std::to_string(number));
  }
  return absl::OkStatus();
}

template <typename Map>
std::string KeysOf(const Map& map) {
  std::string keys;
  for (const auto& [key, value] : map) {
    keys += (keys.empty() ? "" : ", ") + std::string(key);
  }
  return keys;
}

StatusOr<Mapping> RequestedMapping(const ModelMappingRequest& request) {
  if (request.model.empty()) return Mapping::Parse(request.rules_json);
  DCP_ASSIGN_OR_RETURN(Mapping model, Mapping::BuiltIn(request.model));
  if (request.rules_json.empty()) return model;
  DCP_ASSIGN_OR_RETURN(const Mapping own, Mapping::Parse(request.rules_json));
  return own.Over(model);
}

}  // namespace

StatusOr<ModelNumbers> ParseModelNumbers(std::string_view config_json) {
  const StatusOr<JsonValue> json = ParseJson(config_json);
  DCP_RETURN_IF_ERROR(Annotate(json.status(), "the model's config.json"));
  if (json->As<JsonValue::Object>() == nullptr) {
    return DataLoss("the model's config.json: it is no JSON object");
  }
  ModelNumbers numbers;
  AddNumbers(*json, "", &numbers);
  return numbers;
}

Mapping::Mapping(std::shared_ptr<const MappingTable> table)
    : table_(std::move(table)) {}

StatusOr<Mapping> Mapping::Parse(std::string_view json) {
  DCP_ASSIGN_OR_RETURN(MappingTable table, ParseMappingTable(json));
  return Mapping(std::make_shared<const MappingTable>(std::move(table)));
}

StatusOr<Mapping> Mapping::BuiltIn(std::string_view model) {
  std::string known;
  for (const BuiltInMapping& mapping : BuiltInMappings()) {
    if (mapping.model == model) return Parse(mapping.json);
    known += (known.empty() ? "" : ", ") + std::string(mapping.model);
  }
  return InvalidArgument("there is no mapping for the model \"" +
                         Printable(model) + "\", only for " + known +
                         "; a file may hold one");
}

std::vector<std::string> Mapping::BuiltInModels() {
  std::vector<std::string> models;
  for (const BuiltInMapping& mapping : BuiltInMappings()) {
    models.emplace_back(mapping.model);
  }
  return models;
}

Mapping Mapping::Over(const Mapping& base) const {
  MappingTable table = *table_;
  const MappingTable& below = *base.table_;
  table.rules.insert(table.rules.end(), below.rules.begin(), below.rules.end());
  if (table.dialects.empty()) table.dialects = below.dialects;
  table.flavors.insert(below.flavors.begin(), below.flavors.end());
  if (table.name.empty()) table.name = below.name;
  if (table.file_stem.empty()) table.file_stem = below.file_stem;
  return Mapping(std::make_shared<const MappingTable>(std::move(table)));
}

StatusOr<ModelNumbers> Mapping::NumbersOfFlavor(std::string_view flavor) const {
  const auto numbers = table_->flavors.find(flavor);
  if (numbers != table_->flavors.end()) return numbers->second;
  return InvalidArgument("the mapping " + table_->name + " has no flavor \"" +
                         Printable(flavor) +
                         "\", only: " + KeysOf(table_->flavors));
}

bool Mapping::dequantizes() const {
  return std::any_of(table_->rules.begin(), table_->rules.end(),
                     [](const MappingRule& rule) {
                       return rule.kind == MappingRule::Kind::kDropDequantized;
                     });
}

const std::string& Mapping::file_stem() const { return table_->file_stem; }

StatusOr<std::vector<MappedTensor>> Mapping::Plan(
    std::span<const MappingSource> sources,
    const MappingOptions& options) const {
  DCP_ASSIGN_OR_RETURN(MappingPlan plan,
                       PlanMapping(*table_, sources, options));
  return std::move(plan.tensors);
}

StatusOr<std::vector<TiedSource>> Mapping::Ties(
    std::span<const MappingSource> sources,
    const MappingOptions& options) const {
  DCP_ASSIGN_OR_RETURN(MappingPlan plan,
                       PlanMapping(*table_, sources, options));
  return std::move(plan.ties);
}

StatusOr<ModelMapping> MakeModelMapping(const ModelMappingRequest& request) {
  if (request.model.empty() && request.rules_json.empty()) {
    return InvalidArgument("neither a model nor a mapping is given");
  }
  DCP_ASSIGN_OR_RETURN(Mapping mapping, RequestedMapping(request));
  MappingOptions options{.direction = request.direction,
                         .dialect = request.dialect};
  if (!request.config_json.empty()) {
    DCP_ASSIGN_OR_RETURN(options.numbers,
                         ParseModelNumbers(request.config_json));
  }
  if (!request.flavor.empty()) {
    DCP_ASSIGN_OR_RETURN(const ModelNumbers flavor,
                         mapping.NumbersOfFlavor(request.flavor));
    DCP_RETURN_IF_ERROR(MergeNumbers(flavor, &options.numbers));
  }
  return ModelMapping{.mapping = std::move(mapping),
                      .options = std::move(options)};
}

}  // namespace dcp
