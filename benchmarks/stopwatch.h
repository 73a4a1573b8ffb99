// The lines that dcp_plan_bench prints.

#ifndef DCP_BENCHMARKS_STOPWATCH_H_
#define DCP_BENCHMARKS_STOPWATCH_H_

#include <chrono>
#include <cstdio>

namespace dcp::benchmarks {

class Stopwatch {
 public:
  /// Prints the seconds since the last line, and a rate if there is one.
  void Print(const char* step, double megabytes = 0) {
    const double seconds = Seconds();
    std::printf("%-44s %9.3f s", step, seconds);
    if (megabytes > 0) std::printf("  %8.0f MB/s", megabytes / seconds);
    std::printf("\n");
    Restart();
  }
  /// Prints what each of `count` operations since the last line took.
  void PrintEach(const char* step, int64_t count) {
    std::printf("%-44s %9.1f ns\n", step,
                1e9 * Seconds() / static_cast<double>(count));
    Restart();
  }
  void Restart() { begin_ = std::chrono::steady_clock::now(); }

 private:
  double Seconds() const {
    const auto now = std::chrono::steady_clock::now();
    return std::chrono::duration<double>(now - begin_).count();
  }

  std::chrono::steady_clock::time_point begin_ =
      std::chrono::steady_clock::now();
};

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_STOPWATCH_H_
