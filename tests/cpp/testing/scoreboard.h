// What a test of the reliability scoreboard counts, and where it reports it.
//
// A row of the scoreboard (tests/scoreboard/rows.py) is shown by test cases
// with its name as tag, e.g. [R4]. `make test` runs them with their quick
// count, `make test-deep` with the full one.

#ifndef DCP_TESTS_TESTING_SCOREBOARD_H_
#define DCP_TESTS_TESTING_SCOREBOARD_H_

#include <chrono>
#include <cstdint>
#include <string>

namespace dcp::testing {

/// How many trials to run: `quick`, or `deep` with DCP_DEPTH=deep in the
/// environment.
int64_t Trials(int64_t quick, int64_t deep);

/// What a test takes for "within a second". The deep run measures the second
/// itself; `make test` shares its machine with whatever else runs there, and
/// knows by this that no time limit of a minute had to pass.
std::chrono::seconds OneSecond();
/// The same for another time.
std::chrono::milliseconds Within(std::chrono::milliseconds time);

/// What one test case found.
struct RowReport {
  std::string row;    ///< e.g. "R4"
  std::string trial;  ///< what was done, as a few words
  int64_t count = 0;  ///< trials that were run
  int64_t bad = 0;    ///< of these, lost, unreadable, silently wrong or hung
  uint64_t seed = 0;
  std::string note;  ///< e.g. how the trials ended
};

/// Appends a line to the file that DCP_SCOREBOARD names; without it, nothing.
void Report(const RowReport& report);

/// The same for a row that cannot run here.
void ReportSkipped(const std::string& row, const std::string& trial,
                   const std::string& why);

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_SCOREBOARD_H_
