// What a pickle may use as a key.

#include <catch2/catch.hpp>
#include <string>

#include "format/bytes.h"
#include "format/pickle_reader.h"

namespace dcp {
namespace {

using Catch::Matchers::Contains;

std::string ErrorOf(const std::string& pickle) {
  return std::string(Message(ReadPickle(pickle, {}).status()));
}

TEST_CASE("what Python cannot hash is no key", "[pickle]") {
  CHECK_THAT(ErrorOf(Bytes("\x80\x04(]\x91.")), Contains("cannot be a key"));
  CHECK_THAT(ErrorOf(Bytes("\x80\x04\x8f(]\x90.")),
             Contains("cannot be a key"));
}

TEST_CASE("a key that unfolds is refused", "[pickle]") {
  // 2^30 parts in a hundred bytes.
  std::string key = Bytes("\x80\x04}N\x94");
  for (char i = 0; i < 30; ++i) key += {'h', i, '\x86', '\x94'};
  CHECK_THAT(ErrorOf(key + "Ns."), Contains("the key is too large"));
}

}  // namespace
}  // namespace dcp
