// The files that every engine is tested on.

#ifndef DCP_TESTS_IO_ENGINE_FILES_H_
#define DCP_TESTS_IO_ENGINE_FILES_H_

#include <functional>
#include <memory>

#include "conformance/io_engine_conformance.h"
#include "testing/temp_directory.h"

namespace dcp::testing {

using MakeEngine = std::function<std::unique_ptr<IoEngine>(int queue_depth)>;

/// The conformance suite over files on a disk.
inline void CheckEngineOnDisk(const MakeEngine& make) {
  const TempDirectory directory;
  conformance::CheckIoEngine([&] {
    return conformance::IoEngineUnderTest{
        .make = make, .files = {MakePosixFileSystem(), directory.path()}};
  });
}

/// The conformance suite over files without descriptors.
inline void CheckEngineInMemory(const MakeEngine& make) {
  conformance::CheckIoEngine([&] {
    auto fs = MakeMemoryFileSystem();
    REQUIRE(fs->MakeDirectories("/dir").ok());
    return conformance::IoEngineUnderTest{.make = make,
                                          .files = {std::move(fs), "/dir"}};
  });
}

}  // namespace dcp::testing

#endif  // DCP_TESTS_IO_ENGINE_FILES_H_
