#include <catch2/catch.hpp>
#include <memory>

#include "archive_storage.h"
#include "conformance/storage_conformance.h"
#include "temporary_directory.h"

namespace examples {
namespace {

TEST_CASE("the archive storage conforms", "[archive]") {
  dcp::conformance::CheckStorage([] {
    const auto place = std::make_shared<TemporaryDirectory>();
    return dcp::conformance::StorageUnderTest{
        .make_writer =
            [place] {
              return MakeArchiveWriter({.path = place->PathOf("x.dcpar")});
            },
        .make_reader =
            [place] {
              return MakeArchiveReader({.path = place->PathOf("x.dcpar")});
            }};
  });
}

}  // namespace
}  // namespace examples
