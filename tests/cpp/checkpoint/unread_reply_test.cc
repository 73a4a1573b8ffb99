// A rank that does not know what the others of a save do next.

#include <catch2/catch.hpp>
#include <string>

#include "checkpoint/planned_saves.h"
#include "storage/damage.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

TEST_CASE("a rank that cannot read a reply leaves, and the others miss it",
          "[agreement]") {
  for (const uint32_t stages : {1U, 2U}) {  // the last reply, and one of two
    INFO(stages << " stages");
    Job job = TwoStages(2);
    job.specs.resize(stages);
    job.spec_of_rank.resize(2 * stages);
    const SavedJob saved = Filled(job);
    SavingRanks ranks(saved.entries.size());
    // The kind of a reply follows the byte of the seal and the two versions.
    ranks.transports[1]->set_reply_change([](int call, std::string* message) {
      if (call == 2) (*message)[3] = 9;
    });
    const auto fs = MakeMemoryFileSystem();
    const auto results =
        OnRanks<Status>(saved.entries.size(), [&](size_t rank) -> Status {
          const auto writer =
              NativeStorage(NativePlace{.fs = fs}).make_writer();
          const auto result = Save(saved.entries[rank].span(), *writer,
                                   *ranks.transports[rank], {});
          if (rank == 1) ranks.transports[rank].reset();
          return result.status();
        });
    CHECK(results[1].code() == absl::StatusCode::kDataLoss);
    CHECK_THAT(std::string(Message(results[1])),
               Contains("the answer to what a rank saves"));
    for (size_t rank = 0; rank < results.size(); ++rank) {
      if (rank == 1) continue;
      INFO("rank " << rank << ": " << Message(results[rank]));
      CHECK(results[rank].code() == absl::StatusCode::kAborted);
    }
    CHECK_FALSE(fs->Exists("/ckpt/.metadata").value());
  }
}

}  // namespace
}  // namespace dcp
