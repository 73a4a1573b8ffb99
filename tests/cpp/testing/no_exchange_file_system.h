// NoExchangeFileSystem: a file system that cannot exchange names.

#ifndef DCP_TESTS_TESTING_NO_EXCHANGE_FILE_SYSTEM_H_
#define DCP_TESTS_TESTING_NO_EXCHANGE_FILE_SYSTEM_H_

#include <string>

#include "testing/forwarding_file_system.h"

namespace dcp::testing {

class NoExchangeFileSystem final : public ForwardingFileSystem {
 public:
  using ForwardingFileSystem::ForwardingFileSystem;
  Status Exchange(const std::string&, const std::string&) override {
    return Unimplemented("names are not exchanged here");
  }
};

}  // namespace dcp::testing

#endif  // DCP_TESTS_TESTING_NO_EXCHANGE_FILE_SYSTEM_H_
