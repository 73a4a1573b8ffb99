// dcp_bench: libdcp alone, without Python, against the raw device.
//
// Question: how fast are a durable save and a load of a Llama-like state, with
// files in the page cache and without, and how far is that from plain I/O on
// the same disk with the same number of bytes?
//
// Method: one process, one rank. Everything is done once before the clock
// starts. Then the measures take turns, another one first in each repeat, so
// that a disk that slows down slows all of them. Saves go to a directory that
// is not there yet and are synced; loads read one checkpoint, dropped from the
// page cache ("cold") or read into it ("warm") before the clock starts, into
// memory that was overwritten, and what they brought is compared with what was
// saved. "warm, unchecked" does without the checksums, and "crc32" is these
// alone: as many bytes on as many threads, each of which reads one block over
// and over from its core's cache, so no load can check for less. CPU seconds
// and memory are the whole process's; the raw measures' memory is that of their
// blocks in flight.
//
//   dcp_bench --dir /nvme/scratch --nbytes 4294967296 --json out.json

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/checksum.h"
#include "bench_report.h"
#include "bench_state.h"
#include "dcp/checkpoint.h"
#include "meter.h"
#include "raw_device.h"
#include "staging/pipeline_options.h"
#include "staging/threads.h"

namespace dcp::benchmarks {
namespace {

namespace fs = std::filesystem;

constexpr char kUsage[] =
    "usage: dcp_bench --dir DIR [--nbytes N=1073741824] [--repeats N=5]\n"
    "                 [--engine auto|io_uring|threads] [--threads N=0]\n"
    "                 [--direct-io on|off] [--json FILE]\n"
    "--dir: an existing directory on the disk to measure; what is made in it\n"
    "is removed. --threads: those that copy and checksum; 0 chooses.\n";

struct BenchOptions {
  std::string directory;
  int64_t nbytes = int64_t{1} << 30;
  int64_t repeats = 5;
  IoOptions io;
  std::string json_path;
  /// As given, for the report.
  std::map<std::string, std::string> given;
};

bool ParseNumber(std::string_view text, int64_t* number) {
  const auto parsed =
      std::from_chars(text.data(), text.data() + text.size(), *number);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() &&
         *number >= 0;
}

bool ParseEngine(std::string_view text, IoEngineKind* engine) {
  if (text == "auto") *engine = IoEngineKind::kAuto;
  if (text == "io_uring") *engine = IoEngineKind::kUring;
  if (text == "threads") *engine = IoEngineKind::kThreads;
  return text == "auto" || text == "io_uring" || text == "threads";
}

bool ParseOption(std::string_view name, const std::string& value,
                 BenchOptions* options) {
  int64_t number = 0;
  if (name == "--dir") options->directory = value;
  if (name == "--json") options->json_path = value;
  if (name == "--dir" || name == "--json") return !value.empty();
  if (name == "--engine") return ParseEngine(value, &options->io.engine);
  if (name == "--direct-io") {
    options->io.direct_io = value == "on" ? DirectIo::kTry : DirectIo::kOff;
    return value == "on" || value == "off";
  }
  if (!ParseNumber(value, &number)) return false;
  if (name == "--nbytes") options->nbytes = number;
  if (name == "--repeats") options->repeats = number;
  if (name == "--threads") options->io.workers = static_cast<int>(number);
  return (name == "--nbytes" || name == "--repeats") ? number > 0
                                                     : name == "--threads";
}

StatusOr<BenchOptions> ParseOptions(int argc, char** argv) {
  BenchOptions options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc || !ParseOption(name, argv[i + 1], &options)) {
      return InvalidArgument("cannot take " + name + "\n" + kUsage);
    }
    options.given[name.substr(2)] = argv[i + 1];
  }
  if (!fs::is_directory(options.directory)) {
    return InvalidArgument(std::string("--dir must exist\n") + kUsage);
  }
  return options;
}

StatusOr<std::string> MakeOwnDirectory(const std::string& parent) {
  std::string path = JoinPath(parent, "dcp_bench-XXXXXX");
  if (::mkdtemp(path.data()) != nullptr) return path;
  return ErrnoToStatus(errno, {.op = "mkdtemp", .path = path});
}

/// The directories and states of one run; what it made goes with it.
class Bench {
 public:
  /// `root` is a directory of this run's own.
  Bench(BenchOptions options, fs::path root)
      : options_(std::move(options)),
        root_(std::move(root)),
        file_system_(MakePosixFileSystem()),
        state_(options_.nbytes),
        target_(options_.nbytes) {}
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  ~Bench() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }

  StatusOr<Report> Run();

 private:
  using MeasureOnce = std::function<StatusOr<Sample>()>;

  /// Empties the directory `name` of this run.
  std::string Fresh(const std::string& name) const {
    fs::remove_all(root_ / name);
    fs::create_directories(root_ / name);
    return (root_ / name).string();
  }
  std::string Kept(const std::string& name) const {
    return (root_ / name).string();
  }

  Status Prepare();
  Status SaveTo(const std::string& path);
  StatusOr<Sample> MeasureSave();
  StatusOr<Sample> MeasureLoad(PageCache page_cache, bool verify = true);
  StatusOr<Sample> MeasureCrc32() const;
  RawDeviceOptions RawOptions(const std::string& directory) const;
  StatusOr<Sample> MeasureRaw(
      const std::function<StatusOr<RawDeviceResult>()>& pass);

  const BenchOptions options_;
  const fs::path root_;
  const std::shared_ptr<FileSystem> file_system_;
  BenchState state_;
  BenchState target_;
  int64_t raw_nbytes_ = 0;
};

StatusOr<Report> Bench::Run() {
  DCP_RETURN_IF_ERROR(Prepare());
  struct Turn {
    Outcome outcome;
    MeasureOnce measure;
  };
  const auto raw = [this](auto pass, const std::string& directory) {
    return MeasureRaw([this, pass, directory] {
      return pass(*file_system_, RawOptions(directory));
    });
  };
  std::vector<Turn> turns = {
      {{"save", state_.nbytes(), {}}, [&] { return MeasureSave(); }},
      {{"load cold", state_.nbytes(), {}},
       [&] { return MeasureLoad(PageCache::kCold); }},
      {{"load warm", state_.nbytes(), {}},
       [&] { return MeasureLoad(PageCache::kAsIs); }},
      {{"load warm, unchecked", state_.nbytes(), {}},
       [&] { return MeasureLoad(PageCache::kAsIs, /*verify=*/false); }},
      {{"crc32", state_.nbytes(), {}}, [&] { return MeasureCrc32(); }},
      {{"raw write", raw_nbytes_, {}},
       [&] { return raw(&WriteRaw, Fresh("raw")); }},
      {{"raw read", raw_nbytes_, {}},
       [&] { return raw(&ReadRaw, Kept("kept-raw")); }}};
  for (int64_t repeat = 0; repeat < options_.repeats; ++repeat) {
    for (size_t i = 0; i < turns.size(); ++i) {
      Turn& turn = turns[(static_cast<size_t>(repeat) + i) % turns.size()];
      DCP_ASSIGN_OR_RETURN(const Sample sample, turn.measure());
      turn.outcome.samples.push_back(sample);
    }
  }
  Report report{.machine = DescribeMachine(), .parameters = options_.given};
  for (Turn& turn : turns) report.outcomes.push_back(std::move(turn.outcome));
  return report;
}

Status Bench::Prepare() {
  state_.Fill();
  target_.Poison();
  DCP_RETURN_IF_ERROR(SaveTo(Fresh("kept-checkpoint")));
  DCP_ASSIGN_OR_RETURN(const RawDeviceResult raw,
                       WriteRaw(*file_system_, RawOptions(Fresh("kept-raw"))));
  raw_nbytes_ = raw.nbytes;
  return MeasureLoad(PageCache::kAsIs).status();
}

Status Bench::SaveTo(const std::string& path) {
  const std::vector<SaveEntry> entries = state_.SaveEntries();
  const auto writer = MakeFileSystemWriter({.path = path, .io = options_.io});
  const auto transport = MakeSingleProcessTransport();
  return Save(std::span<const SaveEntry>(entries), *writer, *transport, {})
      .status();
}

StatusOr<Sample> Bench::MeasureSave() {
  const std::string path = Fresh("save");
  fs::remove(path);
  return Measure([&] { return SaveTo(path); });
}

StatusOr<Sample> Bench::MeasureLoad(PageCache page_cache, bool verify) {
  const std::string path = Kept("kept-checkpoint");
  DCP_RETURN_IF_ERROR(page_cache == PageCache::kCold
                          ? DropFromCache(*file_system_, path)
                          : BringToCache(*file_system_, path));
  target_.Poison();
  const std::vector<LoadEntry> entries = target_.LoadEntries();
  StatusOr<Sample> sample = Measure([&]() -> Status {
    DCP_ASSIGN_OR_RETURN(
        const auto checkpoint,
        Checkpoint::Open(MakeFileSystemReader(
            {.path = path, .verify = verify, .io = options_.io})));
    return checkpoint->Read(entries).status();
  });
  if (sample.ok() && !(target_ == state_)) {
    return Internal("what was loaded is not what was saved");
  }
  return sample;
}

StatusOr<Sample> Bench::MeasureCrc32() const {
  constexpr int64_t kBlock = int64_t{256} << 10;
  const int workers = ResolvePipelineOptions(options_.io).workers;
  return Measure([&]() -> Status {
    RunOnThreads(static_cast<size_t>(workers), [&](size_t) {
      const std::vector<std::byte> block(kBlock);
      uint32_t crc = 0;
      for (int64_t n = 0; n < state_.nbytes() / workers; n += kBlock) {
        crc = Crc32(crc, block);
      }
      // Of so many zeros it is not zero; said so that it has to be computed.
      if (crc == 0) std::fputs("crc32: 0\n", stderr);
    });
    return absl::OkStatus();
  });
}

RawDeviceOptions Bench::RawOptions(const std::string& directory) const {
  return {.directory = directory,
          .nbytes = state_.nbytes(),
          .block_nbytes = options_.io.block_nbytes,
          .direct_io = options_.io.direct_io,
          .engine = {.kind = options_.io.engine, .queue_depth = 8}};
}

/// The raw device keeps its own time: it touches its memory, and drops files
/// from the cache, before it starts the clock.
StatusOr<Sample> Bench::MeasureRaw(
    const std::function<StatusOr<RawDeviceResult>()>& pass) {
  double seconds = 0;
  DCP_ASSIGN_OR_RETURN(Sample sample, Measure([&]() -> Status {
                         DCP_ASSIGN_OR_RETURN(const RawDeviceResult result,
                                              pass());
                         seconds = result.seconds;
                         return absl::OkStatus();
                       }));
  sample.seconds = seconds;
  return sample;
}

Status Main(int argc, char** argv) {
  DCP_ASSIGN_OR_RETURN(BenchOptions options, ParseOptions(argc, argv));
  const std::string json_path = options.json_path;
  DCP_ASSIGN_OR_RETURN(const std::string root,
                       MakeOwnDirectory(options.directory));
  DCP_ASSIGN_OR_RETURN(const Report report,
                       Bench(std::move(options), root).Run());
  std::fputs(ToTable(report).c_str(), stdout);
  if (json_path.empty()) return absl::OkStatus();
  std::ofstream file(json_path);
  file << ToJson(report) << '\n';
  file.close();
  if (file) return absl::OkStatus();
  return ErrnoToStatus(errno, {.op = "write", .path = json_path});
}

}  // namespace
}  // namespace dcp::benchmarks

int main(int argc, char** argv) {
  const dcp::Status status = dcp::benchmarks::Main(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "dcp_bench: %s\n",
               std::string(dcp::Message(status)).c_str());
  return 1;
}
