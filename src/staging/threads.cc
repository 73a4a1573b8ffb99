#include "staging/threads.h"

#include <exception>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "base/place_thread.h"

namespace dcp {
namespace {

/// Starts `run(1)`, `run(2)`, ..., up to `count` of all; returns the first that
/// it could not start.
template <typename Run>
size_t Start(size_t count, const Run& run, std::vector<std::thread>& threads) {
  for (size_t i = 1; i < count; ++i) {
    try {
      threads.emplace_back(run, i);
    } catch (const std::system_error&) {
      return i;  // EAGAIN: the process may not have more threads
    } catch (const std::bad_alloc&) {
      return i;
    }
  }
  return count;
}

}  // namespace

void RunOnThreads(size_t count, const std::function<void(size_t)>& body) {
  if (count == 0) return;
  std::vector<std::exception_ptr> thrown(count);
  const auto run = [&](size_t i) {
    try {
      body(i);
    } catch (...) {
      thrown[i] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  threads.reserve(count);
  const size_t started = Start(count, run, threads);
  run(0);
  for (size_t i = started; i < count; ++i) run(i);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& exception : thrown) {
    if (exception) std::rethrow_exception(exception);
  }
}

void RunPlaced(const ThreadPlacement& placement,
               const std::function<void()>& body) {
  if (placement == ThreadPlacement()) return body();
  const auto caller = std::this_thread::get_id();
  RunOnThreads(2, [&](size_t i) {
    if (i == 0) return;
    if (std::this_thread::get_id() != caller) PlaceThread(placement);
    body();
  });
}

}  // namespace dcp
