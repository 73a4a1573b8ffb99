#include "staging/threads.h"

#include <system_error>
#include <thread>
#include <vector>

namespace dcp {

void RunOnThreads(size_t count, const std::function<void(size_t)>& body) {
  std::vector<std::thread> threads;
  size_t started = 1;
  for (; started < count; ++started) {
    try {
      threads.emplace_back(body, started);
    } catch (const std::system_error&) {
      break;  // EAGAIN: the process may not have more threads
    }
  }
  if (count > 0) body(0);
  for (size_t i = started; i < count; ++i) body(i);
  for (std::thread& thread : threads) thread.join();
}

}  // namespace dcp
