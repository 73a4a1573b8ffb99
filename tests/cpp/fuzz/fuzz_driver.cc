// Runs a fuzz target on mutated seeds, for compilers without libFuzzer.
//
//   fuzz_X [--runs N] [--seed S] [--first K]
//
// Run k depends on (seed, k) only. After a crash, "--seed S --first K --runs 1"
// repeats the run whose number was printed last (with --trace) or in the
// message. A run that takes more than a second of the processor is a failure,
// and so is one that asks for more than 64 MiB and 8 times its input.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fuzz/allocation_meter.h"
#include "fuzz/fuzz_target.h"
#include "testing/scoreboard.h"

namespace dcp {
namespace {

/// Makes new inputs out of old ones.
class Mutator {
 public:
  Mutator(const std::vector<std::string>& seeds,
          const std::vector<std::string>& dictionary, uint64_t seed)
      : seeds_(seeds), dictionary_(dictionary), rng_(seed) {}

  std::string Next() {
    std::string input = seeds_[Below(seeds_.size())];
    for (size_t steps = 1 + Below(6); steps > 0; --steps) Mutate(&input);
    return input;
  }

 private:
  size_t Below(size_t bound) { return bound == 0 ? 0 : rng_() % bound; }

  void Mutate(std::string* input) {
    const size_t at = Below(input->size());
    switch (Below(9)) {
      case 0:  // flip a bit
        if (input->empty()) return;
        (*input)[at] = static_cast<char>((*input)[at] ^ (1 << Below(8)));
        return;
      case 1:  // replace a byte
        if (input->empty()) return;
        (*input)[at] = static_cast<char>(Below(256));
        return;
      case 2:  // an integer that is often a limit
        return OverwriteInteger(input, at);
      case 3:  // insert noise
        for (size_t i = Below(8); i > 0; --i) {
          input->insert(input->begin() + static_cast<std::ptrdiff_t>(at),
                        static_cast<char>(Below(256)));
        }
        return;
      case 4:  // cut a piece out
        input->erase(at, Below(16));
        return;
      case 5:  // cut the end off
        if (Below(4) == 0) input->resize(at);
        return;
      case 6:  // repeat a piece
        input->insert(at, input->substr(Below(input->size()), Below(64)));
        return;
      case 7: {  // splice with another seed
        const std::string& other = seeds_[Below(seeds_.size())];
        const size_t from = Below(other.size());
        input->replace(at, Below(64), other.substr(from, Below(256)));
        return;
      }
      default:  // a word of the format
        if (dictionary_.empty()) return;
        input->replace(at, Below(8), dictionary_[Below(dictionary_.size())]);
        return;
    }
  }

  void OverwriteInteger(std::string* input, size_t at) {
    constexpr uint64_t kLimits[] = {
        0,          1,          0x7f,       0x80,       0xff,
        0x7fff,     0xffff,     0x7fffffff, 0x80000000, 0xffffffff,
        1ULL << 40, 1ULL << 62, 1ULL << 63, ~0ULL,      ~0ULL >> 1};
    const uint64_t value = kLimits[Below(std::size(kLimits))];
    const size_t nbytes =
        std::min<size_t>(size_t{1} << Below(4), input->size() - at);
    std::memcpy(input->data() + at, &value, nbytes);
  }

  const std::vector<std::string>& seeds_;
  const std::vector<std::string>& dictionary_;
  std::mt19937_64 rng_;
};

#ifdef __SANITIZE_ADDRESS__
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

struct Options {
  uint64_t runs = 20000;
  uint64_t seed = 1;
  uint64_t first = 0;
  bool trace = false;
};

bool ParseOptions(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--trace") {
      options->trace = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const uint64_t value = std::strtoull(argv[++i], nullptr, 10);
    if (name == "--runs") {
      options->runs = value;
    } else if (name == "--seed") {
      options->seed = value;
    } else if (name == "--first") {
      options->first = value;
    } else {
      return false;
    }
  }
  return true;
}

void RunOne(std::string_view input) {
  // A copy of the exact size on the heap: reads beyond the end are seen.
  std::vector<uint8_t> copy(input.begin(), input.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

/// What went wrong, nullptr if nothing did.
const char* FaultOf(std::string_view input) {
  constexpr size_t kMaxNbytes = size_t{64} << 20;
  // Of the processor: the machine may be busy with other things.
  const std::clock_t start = std::clock();
  ResetAllocationPeak();
  RunOne(input);
  if (AllocationPeakNbytes() > kMaxNbytes + 8 * input.size()) {
    return "asked for more than 64 MiB and 8 times its input";
  }
  if (std::clock() - start > CLOCKS_PER_SEC) {
    return "took more than a second";
  }
  return nullptr;
}

int Main(const char* name, const Options& options) {
  const std::vector<std::string> seeds = FuzzSeeds();
  const std::vector<std::string> dictionary = FuzzDictionary();
  Require(!seeds.empty(), "there are seeds");
  for (const std::string& seed : seeds) RunOne(seed);
  for (uint64_t k = options.first; k < options.first + options.runs; ++k) {
    if (options.trace)
      std::fprintf(stderr, "run %llu\n", (unsigned long long)k);
    Mutator mutator(seeds, dictionary, options.seed * 0x9e3779b97f4a7c15 + k);
    const std::string input = mutator.Next();
    if (const char* fault = FaultOf(input)) {
      std::fprintf(stderr, "run %llu %s\n", (unsigned long long)k, fault);
      return 1;
    }
  }
  testing::Report({.row = "R19",
                   .trial = name,
                   .count = static_cast<int64_t>(options.runs),
                   .seed = options.seed,
                   .note = kSanitized ? "ASan and UBSan" : "no sanitizer"});
  std::printf("%llu runs on %zu seeds, seed %llu: ok\n",
              (unsigned long long)options.runs, seeds.size(),
              (unsigned long long)options.seed);
  return 0;
}

}  // namespace
}  // namespace dcp

int main(int argc, char** argv) {
  dcp::Options options;
  if (!dcp::ParseOptions(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: %s [--runs N] [--seed S] [--first K] [--trace]\n",
                 argv[0]);
    return 2;
  }
  const std::string_view path = argv[0];
  return dcp::Main(argv[0] + (path.rfind('/') + 1), options);
}
