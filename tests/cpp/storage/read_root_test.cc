#include "storage/read_root.h"

#include <catch2/catch.hpp>

namespace dcp {
namespace {

TEST_CASE("files lie in the checkpoint, or in a hub cache's model folder",
          "[storage]") {
  CHECK(ReadRoot("/a/step-1") == "/a/step-1");
  CHECK(ReadRoot("step-1") == "step-1");
  CHECK(ReadRoot("/hub/models--a--b/snapshots/c0ffee") == "/hub/models--a--b");
  CHECK(ReadRoot("models--a--b/snapshots/c0ffee") == "models--a--b");
  CHECK(ReadRoot("/hub/models--a--b") == "/hub/models--a--b");
  CHECK(ReadRoot("/hub/my-models--a/x") == "/hub/my-models--a/x");
}

}  // namespace
}  // namespace dcp
