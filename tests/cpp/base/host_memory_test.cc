#include "base/host_memory.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <string>

#include "testing/temp_directory.h"

namespace dcp {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

/// What a kernel would tell.
class Kernel {
 public:
  const MemoryFiles& files() const { return files_; }

  void Put(const std::string& name, const std::string& text) const {
    const std::filesystem::path path = temp_.path() + name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  void PutGroup(const std::string& group, const std::string& limit,
                int64_t current, int64_t inactive_file = 0) const {
    Put("/cgroup" + group + "/memory.max", limit + "\n");
    Put("/cgroup" + group + "/memory.current", std::to_string(current) + "\n");
    Put("/cgroup" + group + "/memory.stat",
        "anon 12345\nfile 999\ninactive_file " + std::to_string(inactive_file) +
            "\nactive_file 7\n");
  }

 private:
  testing::TempDirectory temp_;
  MemoryFiles files_ = {.proc = temp_.path() + "/proc",
                        .cgroup = temp_.path() + "/cgroup"};
};

TEST_CASE("the kernel's own files can be read", "[base]") {
  const auto available = AvailableHostMemory();
  REQUIRE(available);
  CHECK(*available > 0);
}

TEST_CASE("without a group it is what the machine has", "[base]") {
  const Kernel kernel;
  CHECK_FALSE(AvailableHostMemory(kernel.files()));
  kernel.Put("/proc/meminfo",
             "MemTotal:       8388608 kB\nMemFree:  5 kB\n"
             "MemAvailable:    4096 kB\n");
  CHECK(AvailableHostMemory(kernel.files()) == 4 * kMiB);
}

TEST_CASE("a group with less left than the machine decides", "[base]") {
  const Kernel kernel;
  kernel.Put("/proc/meminfo", "MemAvailable: 1048576 kB\n");
  kernel.Put("/proc/self/cgroup", "1:name=systemd:/x\n0::/job/rank0\n");
  SECTION("its own") {
    kernel.PutGroup("/job/rank0", std::to_string(100 * kMiB), 60 * kMiB);
    CHECK(AvailableHostMemory(kernel.files()) == 40 * kMiB);
  }
  SECTION("file pages can be dropped") {
    kernel.PutGroup("/job/rank0", std::to_string(100 * kMiB), 60 * kMiB,
                    20 * kMiB);
    CHECK(AvailableHostMemory(kernel.files()) == 60 * kMiB);
  }
  SECTION("one above it") {
    kernel.PutGroup("/job/rank0", "max", 60 * kMiB);
    kernel.PutGroup("/job", std::to_string(80 * kMiB), 70 * kMiB);
    CHECK(AvailableHostMemory(kernel.files()) == 10 * kMiB);
  }
  SECTION("the one that is the root in a container") {
    kernel.PutGroup("", std::to_string(80 * kMiB), 77 * kMiB);
    CHECK(AvailableHostMemory(kernel.files()) == 3 * kMiB);
  }
  SECTION("one that is over its limit leaves nothing") {
    kernel.PutGroup("/job/rank0", std::to_string(kMiB), 2 * kMiB);
    CHECK(AvailableHostMemory(kernel.files()) == 0);
  }
  SECTION("unless it has no limit") {
    kernel.PutGroup("/job/rank0", "max", 60 * kMiB);
    CHECK(AvailableHostMemory(kernel.files()) == 1024 * kMiB);
  }
}

}  // namespace
}  // namespace dcp
