#include "mapping/mapping_parser.h"

#include <string>
#include <utility>

#include "base/printable.h"

namespace dcp {
namespace {

constexpr std::string_view kTableKeys[] = {"name", "dialects", "flavors",
                                           "file_stem", "rules"};
constexpr std::string_view kDialectKeys[] = {"name", "replace"};

StatusOr<const JsonValue::Array*> ArrayOf(const JsonValue& json,
                                          std::string_view key) {
  if (const auto* array = json.As<JsonValue::Array>()) return array;
  return InvalidArgument("\"" + std::string(key) + "\" is no list");
}

StatusOr<const JsonValue::Object*> ObjectOf(const JsonValue& json,
                                            std::string_view key) {
  if (const auto* object = json.As<JsonValue::Object>()) return object;
  return InvalidArgument("\"" + std::string(key) + "\" is no object");
}

StatusOr<MappingDialect> ParseDialect(const JsonValue& json) {
  DCP_RETURN_IF_ERROR(CheckKeys(json, kDialectKeys));
  MappingDialect dialect;
  if (const JsonValue* name = json.Find("name")) {
    DCP_ASSIGN_OR_RETURN(dialect.name, TextOf(*name, "name"));
  }
  if (dialect.name.empty()) return InvalidArgument("a dialect has no name");
  const JsonValue* const replace = json.Find("replace");
  if (replace == nullptr) return dialect;
  DCP_ASSIGN_OR_RETURN(const auto* pairs, ArrayOf(*replace, "replace"));
  for (const JsonValue& pair : *pairs) {
    const auto* const texts = pair.As<JsonValue::Array>();
    if (texts == nullptr || texts->size() != 2) {
      return InvalidArgument("\"replace\" is no list of pairs");
    }
    DCP_ASSIGN_OR_RETURN(std::string from, TextOf((*texts)[0], "replace"));
    DCP_ASSIGN_OR_RETURN(std::string to, TextOf((*texts)[1], "replace"));
    if (from.empty()) return InvalidArgument("\"replace\" replaces nothing");
    dialect.replacements.emplace_back(std::move(from), std::move(to));
  }
  return dialect;
}

StatusOr<ModelNumbers> ParseFlavor(const JsonValue& json,
                                   std::string_view name) {
  DCP_ASSIGN_OR_RETURN(const auto* members, ObjectOf(json, name));
  ModelNumbers numbers;
  for (const auto& [key, value] : *members) {
    const auto* const number = value.As<int64_t>();
    if (number == nullptr) {
      return InvalidArgument("the number " + Printable(key) + " of flavor " +
                             Printable(name) + " is no whole number");
    }
    numbers.emplace(key, *number);
  }
  return numbers;
}

Status AnnotateRule(const Status& status, size_t number) {
  return Annotate(status, "rule " + std::to_string(number));
}

Status ParseRules(const JsonValue& json, MappingTable* table) {
  DCP_ASSIGN_OR_RETURN(const auto* rules, ArrayOf(json, "rules"));
  for (size_t i = 0; i < rules->size(); ++i) {
    StatusOr<MappingRule> rule = ParseMappingRule((*rules)[i]);
    DCP_RETURN_IF_ERROR(AnnotateRule(rule.status(), i + 1));
    DCP_RETURN_IF_ERROR(AnnotateRule(CheckMappingRule(*rule), i + 1));
    table->rules.push_back(*std::move(rule));
  }
  return absl::OkStatus();
}

Status ParseDialects(const JsonValue& json, MappingTable* table) {
  DCP_ASSIGN_OR_RETURN(const auto* dialects, ArrayOf(json, "dialects"));
  for (const JsonValue& dialect : *dialects) {
    DCP_ASSIGN_OR_RETURN(MappingDialect parsed, ParseDialect(dialect));
    table->dialects.push_back(std::move(parsed));
  }
  return absl::OkStatus();
}

Status ParseFlavors(const JsonValue& json, MappingTable* table) {
  DCP_ASSIGN_OR_RETURN(const auto* flavors, ObjectOf(json, "flavors"));
  for (const auto& [name, numbers] : *flavors) {
    DCP_ASSIGN_OR_RETURN(table->flavors[name], ParseFlavor(numbers, name));
  }
  return absl::OkStatus();
}

StatusOr<MappingTable> TableOf(std::string_view text) {
  DCP_ASSIGN_OR_RETURN(const JsonValue json, ParseJson(text));
  DCP_RETURN_IF_ERROR(CheckKeys(json, kTableKeys));
  MappingTable table;
  if (const JsonValue* name = json.Find("name")) {
    DCP_ASSIGN_OR_RETURN(table.name, TextOf(*name, "name"));
  }
  if (const JsonValue* stem = json.Find("file_stem")) {
    DCP_ASSIGN_OR_RETURN(table.file_stem, TextOf(*stem, "file_stem"));
  }
  if (const JsonValue* dialects = json.Find("dialects")) {
    DCP_RETURN_IF_ERROR(ParseDialects(*dialects, &table));
  }
  if (const JsonValue* flavors = json.Find("flavors")) {
    DCP_RETURN_IF_ERROR(ParseFlavors(*flavors, &table));
  }
  const JsonValue* const rules = json.Find("rules");
  if (rules == nullptr) return InvalidArgument("it has no \"rules\"");
  DCP_RETURN_IF_ERROR(ParseRules(*rules, &table));
  return table;
}

}  // namespace

Status CheckKeys(const JsonValue& json,
                 std::span<const std::string_view> allowed) {
  const auto* const members = json.As<JsonValue::Object>();
  if (members == nullptr) return InvalidArgument("it is no JSON object");
  for (const auto& [key, value] : *members) {
    bool is_known = false;
    for (const std::string_view known : allowed) is_known |= known == key;
    if (!is_known) {
      return InvalidArgument("the key \"" + Printable(key) + "\" is not known");
    }
  }
  return absl::OkStatus();
}

StatusOr<std::string> TextOf(const JsonValue& json, std::string_view key) {
  if (const auto* text = json.As<std::string>()) return *text;
  return InvalidArgument("\"" + std::string(key) + "\" is no string");
}

StatusOr<MappingTable> ParseMappingTable(std::string_view json) {
  StatusOr<MappingTable> table = TableOf(json);
  if (table.ok()) return table;
  return Annotate(InvalidArgument(Message(table.status())), "the mapping");
}

}  // namespace dcp
