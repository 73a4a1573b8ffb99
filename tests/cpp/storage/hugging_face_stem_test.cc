// Safetensors files of other names than "model": as diffusers has them.

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "conformance/check_files.h"
#include "storage/hugging_face_cases.h"
#include "testing/no_exchange_file_system.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;
using Names = std::vector<std::string>;

const std::string kStem = "diffusion_pytorch_model";
const SmallModel kOne{.value = 3, .stem = kStem};
const SmallModel kTwo{.value = 4, .shards = 2, .stem = kStem};

Names VisibleNames(FileSystem& fs) {
  Names names = NamesIn(fs, kModel);
  std::erase_if(names, [](const std::string& n) { return n.starts_with("."); });
  return names;
}

TEST_CASE("files have the names that diffusers gives them", "[storage]") {
  const auto fs = EmptyDisk();
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-aa", .model = kOne}));
  CHECK(VisibleNames(*fs) == Names{kStem + ".safetensors"});
  CHECK(FindModel(fs).Is(kOne));
  SaveOutcome outcome;
  DCP_CHECK_OK(
      SaveModel(fs, {.save_id = "dcpcpp-bb", .model = kTwo}, &outcome));
  CHECK(outcome.way == PublishWay::kExchange);
  CHECK(VisibleNames(*fs) == Names{kStem + "-00001-of-00002.safetensors",
                                   kStem + "-00002-of-00002.safetensors",
                                   kStem + ".safetensors.index.json"});
  CHECK(FindModel(fs).Is(kTwo));
  const Status kept = SaveModel(fs, {.model = kOne, .overwrite = false});
  CHECK_THAT(std::string(Message(kept)),
             Contains("(/run/model/" + kStem + ".safetensors.index.json)"));
}

TEST_CASE("one name takes the place of another, or is refused", "[storage]") {
  const bool is_to_stem = GENERATE(true, false);
  const SmallModel before = is_to_stem ? kNewModel : kTwo;
  const SmallModel after = is_to_stem ? kTwo : kNewModel;
  const auto fs = EmptyDisk();
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-aa", .model = before}));
  // Two indices, of which readers could take the wrong one.
  const Status refused =
      SaveModel(std::make_shared<testing::NoExchangeFileSystem>(fs),
                {.save_id = "dcpcpp-bb", .model = after});
  CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(refused)),
             Contains("cannot make room for an index of another name"));
  CHECK(FindModel(fs).Is(before));
  DCP_CHECK_OK(SaveModel(fs, {.save_id = "dcpcpp-cc", .model = after}));
  CHECK(FindModel(fs).Is(after));
  CHECK(VisibleNames(*fs).size() == 3);
}

TEST_CASE("a file of another program is not taken the name of", "[storage]") {
  const auto fs = EmptyDisk();
  PutInModel(*fs, kStem + ".safetensors", BytesOfShard({.value = 7}, 0).all);
  const Status refused = SaveModel(fs, {.model = kOne});
  CHECK(refused.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(std::string(Message(refused)),
             Contains(kStem + ".safetensors was written by another program"));
  CHECK(FindModel(fs).Is({.value = 7}));
  // Under another name it stays, and does not count.
  DCP_CHECK_OK(SaveModel(fs, {.model = kOldModel}));
  CHECK(FindModel(fs).Is(kOldModel));
  CHECK(fs->Exists(kModel + "/" + kStem + ".safetensors").value());
}

TEST_CASE("a native save knows files of diffusers for a model's", "[storage]") {
  const auto fs = EmptyDisk();
  PutInModel(*fs, kStem + ".safetensors", BytesOfShard({.value = 7}, 0).all);
  const auto writer =
      MakeFileSystemWriter({.path = kModel}, {.file_system = fs});
  CHECK_THAT(
      std::string(Message(writer->SetUp({.is_coordinator = true}))),
      Contains("holds a safetensors checkpoint (" + kStem + ".safetensors)"));
  writer->Abort();
}

TEST_CASE("a stem that is no name is refused", "[storage]") {
  const auto fs = EmptyDisk();
  for (const std::string stem : {"", "a/b", "../x", "model-00001-of-00002"}) {
    CAPTURE(stem);
    const auto writer = MakeHuggingFaceWriter(
        {.path = kModel, .file_stem = stem}, {.file_system = fs});
    CHECK(writer->SetUp({.is_coordinator = true}).code() ==
          absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace dcp
