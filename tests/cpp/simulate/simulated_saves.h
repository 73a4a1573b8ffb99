// Saves for tests of SimulateSave.

#ifndef DCP_TESTS_SIMULATE_SIMULATED_SAVES_H_
#define DCP_TESTS_SIMULATE_SIMULATED_SAVES_H_

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/simulate_save.h"

namespace dcp {

inline constexpr int64_t kGb = 1'000'000'000;

/// `ranks` of a gigabyte each.
inline SaveWork EvenWork(size_t ranks) {
  return {.written_nbytes = std::vector<int64_t>(ranks, kGb),
          .held_nbytes = std::vector<int64_t>(ranks, kGb)};
}

/// Nothing takes time, and nothing has a limit.
inline SaveSimulationOptions FreeOptions() {
  return {.rates = {.device = 0, .rank = 0, .node = 0, .messages = 0},
          .costs = {.latency = 0,
                    .message = 0,
                    .poll = 0,
                    .file = 0,
                    .item = 0,
                    .metadata_byte = 0,
                    .publish = 0}};
}

inline SaveSimulation Simulated(const SaveWork& work,
                                const SaveSimulationOptions& options) {
  const auto result = SimulateSave(work, options);
  INFO(Message(result.status()));
  REQUIRE(result.ok());
  return *result;
}

inline Spread SecondsOf(const SaveSimulation& save, std::string_view name) {
  for (const SavePart& part : save.parts) {
    if (part.name == name) return part.seconds;
  }
  FAIL("a save has no part " << std::string(name));
  return {};
}

}  // namespace dcp

#endif  // DCP_TESTS_SIMULATE_SIMULATED_SAVES_H_
