#include "bench_report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "dcp/io_engine.h"

namespace dcp::benchmarks {
namespace {

/// The schema of the JSON: raised when a field changes its meaning.
constexpr int kSchema = 1;

std::vector<double> Sorted(const Outcome& outcome, double Sample::*field) {
  std::vector<double> values;
  values.reserve(outcome.samples.size());
  for (const Sample& sample : outcome.samples) values.push_back(sample.*field);
  std::sort(values.begin(), values.end());
  return values;
}

double Median(const std::vector<double>& sorted) {
  const size_t half = sorted.size() / 2;
  if (sorted.size() % 2 == 1) return sorted[half];
  return (sorted[half - 1] + sorted[half]) / 2;
}

double MedianGbps(const Outcome& outcome) {
  return static_cast<double>(outcome.nbytes) / 1e9 /
         Median(Sorted(outcome, &Sample::seconds));
}

std::string Processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      return line.substr(line.find(':') + 2);
    }
  }
  return "unknown";
}

nlohmann::json ToJson(const Outcome& outcome) {
  nlohmann::json json = {{"measure", outcome.measure},
                         {"nbytes", outcome.nbytes},
                         {"median_gbps", MedianGbps(outcome)}};
  for (const Sample& sample : outcome.samples) {
    json["seconds"].push_back(sample.seconds);
    json["cpu_seconds"].push_back(sample.cpu_seconds);
    json["extra_rss_mib"].push_back(sample.extra_rss_mib);
  }
  return json;
}

}  // namespace

std::map<std::string, std::string> DescribeMachine() {
  utsname system{};
  ::uname(&system);
  std::map<std::string, std::string> machine = {
      {"kernel", system.release},
      {"architecture", system.machine},
      {"processor", Processor()},
      {"cores", std::to_string(std::thread::hardware_concurrency())}};
  if (const auto engine = SelectIoEngine(IoEngineKind::kAuto); engine.ok()) {
    const bool is_uring = engine->kind == IoEngineKind::kUring;
    machine["io_engine"] =
        (is_uring ? "io_uring (" : "threads (") + engine->reason + ")";
  }
  return machine;
}

std::string ToTable(const Report& report) {
  std::string table =
      "measure       MiB    min s  median s     max s    GB/s   CPU s  extra "
      "MiB\n";
  for (const Outcome& outcome : report.outcomes) {
    const std::vector<double> seconds = Sorted(outcome, &Sample::seconds);
    char line[160];
    std::snprintf(line, sizeof line,
                  "%-10s %6.0f %8.4f  %8.4f  %8.4f %7.2f %7.3f %10.1f\n",
                  outcome.measure.c_str(),
                  static_cast<double>(outcome.nbytes) / (1 << 20),
                  seconds.front(), Median(seconds), seconds.back(),
                  MedianGbps(outcome),
                  Median(Sorted(outcome, &Sample::cpu_seconds)),
                  Sorted(outcome, &Sample::extra_rss_mib).back());
    table += line;
  }
  return table;
}

std::string ToJson(const Report& report) {
  nlohmann::json json = {{"schema", kSchema},
                         {"machine", report.machine},
                         {"parameters", report.parameters},
                         {"outcomes", nlohmann::json::array()}};
  for (const Outcome& outcome : report.outcomes) {
    json["outcomes"].push_back(ToJson(outcome));
  }
  return json.dump(1);
}

}  // namespace dcp::benchmarks
