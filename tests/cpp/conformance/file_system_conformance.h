// What every FileSystem must do; include this, and call it from a test case:
//
//   TEST_CASE("my file system conforms", "[my][conformance]") {
//     dcp::conformance::CheckFileSystem([] {
//       return dcp::conformance::FileSystemUnderTest{MakeMine(), "/scratch"};
//     });
//   }
//
// Needs Catch2 v2 and dcp/ headers, nothing else of this project. Where the
// file system's traits say that it cannot do a thing, that is not asked for.

#ifndef DCP_TESTS_CONFORMANCE_FILE_SYSTEM_CONFORMANCE_H_
#define DCP_TESTS_CONFORMANCE_FILE_SYSTEM_CONFORMANCE_H_

#include <functional>
#include <memory>
#include <string>

#include "conformance/check_directories.h"
#include "conformance/check_files.h"
#include "conformance/check_locks.h"
#include "conformance/check_names.h"

namespace dcp::conformance {

/// Makes a file system with an empty directory; called once per section.
using FileSystemFactory = std::function<FileSystemUnderTest()>;

inline void CheckFileSystem(const FileSystemFactory& make) {
  const FileSystemUnderTest under_test = make();
  INFO("file system " << under_test.fs->traits().name << ", directory "
                      << under_test.directory);
  CheckFiles(under_test);
  CheckNames(under_test);
  CheckDirectoryChanges(under_test);
  CheckLocks(under_test);
}

}  // namespace dcp::conformance

#endif  // DCP_TESTS_CONFORMANCE_FILE_SYSTEM_CONFORMANCE_H_
