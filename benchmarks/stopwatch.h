// The lines that dcp_plan_bench prints.

#ifndef DCP_BENCHMARKS_STOPWATCH_H_
#define DCP_BENCHMARKS_STOPWATCH_H_

#include <time.h>

#include <cstdint>
#include <cstdio>

namespace dcp::benchmarks {

/// Counts the processor's time for this process, so that others on the machine
/// disturb less: all steps are one thread's computing.
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
  void Restart() { begin_ = Now(); }

 private:
  static double Now() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) +
           1e-9 * static_cast<double>(time.tv_nsec);
  }
  double Seconds() const { return Now() - begin_; }

  double begin_ = Now();
};

}  // namespace dcp::benchmarks

#endif  // DCP_BENCHMARKS_STOPWATCH_H_
