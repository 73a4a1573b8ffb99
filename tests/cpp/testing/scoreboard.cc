#include "testing/scoreboard.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string_view>

namespace dcp::testing {
namespace {

void Append(const nlohmann::json& line) {
  const char* path = std::getenv("DCP_SCOREBOARD");
  if (path == nullptr) return;
  std::ofstream(path, std::ios::app) << line.dump() << "\n";
}

bool IsDeep() {
  const char* depth = std::getenv("DCP_DEPTH");
  return depth != nullptr && std::string_view(depth) == "deep";
}

}  // namespace

int64_t Trials(int64_t quick, int64_t deep) { return IsDeep() ? deep : quick; }

std::chrono::seconds OneSecond() {
  return std::chrono::duration_cast<std::chrono::seconds>(
      Within(std::chrono::seconds(1)));
}

std::chrono::milliseconds Within(std::chrono::milliseconds time) {
  return IsDeep() ? time : std::chrono::seconds(10);
}

void Report(const RowReport& report) {
  Append({{"row", report.row},
          {"trial", report.trial},
          {"subject", "dcpcpp"},
          {"count", report.count},
          {"bad", report.bad},
          {"seed", report.seed},
          {"note", report.note}});
}

void ReportSkipped(const std::string& row, const std::string& trial,
                   const std::string& why) {
  std::cerr << "SKIP " << row << " " << trial << ": " << why << "\n";
  Append({{"row", row},
          {"trial", trial},
          {"subject", "dcpcpp"},
          {"skipped", why}});
}

}  // namespace dcp::testing
