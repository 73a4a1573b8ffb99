#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "conformance/transport_conformance.h"
#include "dcp/async_save.h"
#include "dcp/checkpoint.h"
#include "mpi/mpi_ranks.h"

namespace dcp {
namespace {

constexpr int64_t kColumns = 3;

/// A directory that all ranks of the world know, empty at first.
std::string SharedDirectory() {
  std::array<char, 64> name{};
  if (WorldRank() == 0) {
    std::string path =
        std::filesystem::temp_directory_path() / "dcp-mpi-XXXXXX";
    REQUIRE(mkdtemp(path.data()) != nullptr);
    path.copy(name.data(), name.size() - 1);
  }
  MPI_Bcast(name.data(), static_cast<int>(name.size()), MPI_CHAR, 0,
            MPI_COMM_WORLD);
  return name.data();
}

/// This rank's rows of a matrix of 12 rows that counts its elements.
struct Rows {
  explicit Rows(const Transport& transport)
      : begin(12 * transport.rank() / transport.world_size()),
        count(12 * (transport.rank() + 1) / transport.world_size() - begin),
        values(static_cast<size_t>(count * kColumns)) {}

  TensorView view() {
    return ContiguousView(values.data(), DType::kFloat32, {count, kColumns});
  }
  void Count() {
    std::iota(values.begin(), values.end(),
              static_cast<float>(begin * kColumns));
  }

  int64_t begin;
  int64_t count;
  std::vector<float> values;
};

Status SaveRows(std::unique_ptr<Transport> transport, const std::string& path) {
  auto rows = std::make_shared<Rows>(*transport);
  rows->Count();
  std::vector<SaveEntry> entries;
  entries.push_back(
      ShardEntry("rows", rows->view(), {12, kColumns}, {rows->begin, 0}));
  const auto handle = AsyncSave(std::move(entries), rows,
                                {.writer = MakeFileSystemWriter({.path = path}),
                                 .transport = std::move(transport)});
  return handle->Wait().status();
}

class RowsRequest final : public LoadRequest {
 public:
  explicit RowsRequest(Rows& rows) : rows_(rows) {}
  StatusOr<std::vector<LoadEntry>> MakeEntries(const Metadata&) override {
    std::vector<LoadEntry> entries;
    entries.push_back(
        ShardLoad("rows", rows_.view(), {12, kColumns}, {rows_.begin, 0}));
    return entries;
  }

 private:
  Rows& rows_;
};

Status LoadRows(Transport& transport, const std::string& path) {
  Rows rows(transport);
  Rows expected(transport);
  expected.Count();
  RowsRequest request(rows);
  const auto reader = MakeFileSystemReader({.path = path});
  DCP_RETURN_IF_ERROR(Load(request, *reader, transport, {}).status());
  return rows.values == expected.values ? absl::OkStatus()
                                        : Internal("other values");
}

TEST_CASE("ranks of MPI save in the background, and others load", "[mpi]") {
  const std::string path = SharedDirectory();
  Status status = RunOnRanks(4, kAmpleSeconds, [&](auto& transport) {
    return SaveRows(std::move(transport), path);
  });
  INFO(Message(status));
  CHECK(status.ok());
  status = RunOnRanks(3, kAmpleSeconds, [&](auto& transport) {
    return LoadRows(*transport, path);
  });
  INFO(Message(status));
  CHECK(status.ok());
  if (WorldRank() == 0) std::filesystem::remove_all(path);
}

TEST_CASE("a rank of MPI that cannot save tells the others", "[mpi]") {
  const std::string path = SharedDirectory();
  const Status status = RunOnRanks(4, kAmpleSeconds, [&](auto& transport) {
    const auto writer = MakeFileSystemWriter({.path = path});
    using Entries = std::span<const SaveEntry>;
    const StatusOr<Entries> entries =
        transport->rank() == 2 ? StatusOr<Entries>(DataLoss("no state here"))
                               : StatusOr<Entries>(Entries());
    return Save(entries, *writer, *transport, {}).status();
  });
  const auto failures = GetRankFailures(status);
  REQUIRE(failures.has_value());
  CHECK(failures->by_rank.size() == 1);
  CHECK(failures->by_rank.count(2) == 1);
  if (WorldRank() == 0) std::filesystem::remove_all(path);
}

}  // namespace
}  // namespace dcp
