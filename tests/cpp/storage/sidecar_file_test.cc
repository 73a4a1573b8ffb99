#include "storage/sidecar_file.h"

#include <catch2/catch.hpp>
#include <string>

#include "dcp/metadata_codec.h"

namespace dcp {
namespace {

std::string PickleOf(const std::string& save_id,
                     const std::string& checkpoint_id = "/runs/dcpcpp-1") {
  Metadata metadata;
  metadata.Add("dcpcpp-abc", BytesStorageMetadata{});
  metadata.storage_meta = {.checkpoint_id = checkpoint_id, .save_id = save_id};
  metadata.version = "1.0.0";
  return SerializeMetadata(metadata).value();
}

TEST_CASE("the save id of .metadata of dcp is found without parsing",
          "[storage]") {
  for (const std::string save_id :
       {"dcpcpp-0", "dcpcpp-0123456789abcdef0123456789abcdef"}) {
    CHECK(LikelySaveIdOf(PickleOf(save_id)) == save_id);
    CHECK(LikelySaveIdOf(PickleOf(save_id, std::string(5000, 'c'))) == save_id);
  }
}

TEST_CASE("other .metadata have no save id of dcp at their end", "[storage]") {
  // What looks like one is another text, which the sidecar would tell.
  CHECK(LikelySaveIdOf(PickleOf("a-b-c", "/c")) == "dcpcpp-abc");
  CHECK(LikelySaveIdOf(PickleOf("a-b-c")).empty());
  CHECK(LikelySaveIdOf(PickleOf("dcpcpp-XYZ")).empty());
  CHECK(LikelySaveIdOf(PickleOf("a-b-c", std::string(5000, 'c'))).empty());
  CHECK(LikelySaveIdOf("").empty());
  CHECK(LikelySaveIdOf("dcpcpp-").empty());
  CHECK(LikelySaveIdOf("dcpcpp-1").empty());
  CHECK(LikelySaveIdOf("\x08"
                       "dcpcpp-1") == "dcpcpp-1");
  CHECK(LikelySaveIdOf("\xff"
                       "dcpcpp-1")
            .empty());
}

}  // namespace
}  // namespace dcp
