// Lists of replaced files: a name is one in the directory, and whatever is
// accepted can be written and read again.

#include <string>

#include "fuzz/fuzz_target.h"
#include "fuzz/with_crc.h"
#include "storage/replaced_list.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  return {SerializeReplacedList({}),
          SerializeReplacedList({{.name = "model.safetensors", .nbytes = 17},
                                 {.name = ".dcpcpp-0", .nbytes = 1 << 20}})};
}
std::vector<std::string> FuzzDictionary() { return {"..", "/", "a/b"}; }

namespace {

void Check(const std::string& data) {
  const auto files = ParseReplacedList(data);
  if (!files.ok()) return;
  for (const ListedFile& file : *files) {
    Require(file.name.find('/') == file.name.npos && file.name != ".." &&
                file.name != "." && !file.name.empty(),
            "a name is one in the directory");
  }
  const auto again = ParseReplacedList(SerializeReplacedList(*files));
  Require(again.ok() && *again == *files, "a round trip changes nothing");
}

}  // namespace
}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const std::string& input : dcp::AlsoWithCrc(data, size)) {
    dcp::Check(input);
  }
  return 0;
}
