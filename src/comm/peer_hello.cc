#include "comm/peer_hello.h"

#include <array>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <span>
#include <utility>

#include "base/checksum.h"
#include "base/wire.h"
#include "comm/peer_address.h"

namespace dcp {
namespace {

// "dcphail1" and "dcpwell1"; the digit is the version of all that follows.
constexpr uint64_t kHelloMagic = 0x316c'6961'6870'6364;
constexpr uint64_t kWelcomeMagic = 0x316c'6c65'7770'6364;

void Put(const TrafficSummary& summary, WireWriter& out) {
  out.PutU64(summary.messages);
  out.PutU64(summary.nbytes);
  out.PutU32(summary.sizes_crc);
}

TrafficSummary GetSummary(WireReader& in) {
  TrafficSummary summary;
  summary.messages = in.U64();
  summary.nbytes = in.U64();
  summary.sizes_crc = in.U32();
  return summary;
}

}  // namespace

std::string TrafficSummary::ToString() const {
  std::array<char, 16> crc{};
  (void)std::snprintf(crc.data(), crc.size(), "0x%08x", sizes_crc);
  return std::to_string(messages) + " messages of " + std::to_string(nbytes) +
         " bytes in all (sizes " + crc.data() + ")";
}

TrafficSummary Summarize(const std::vector<int64_t>& sizes) {
  TrafficSummary summary{.messages = sizes.size()};
  for (const int64_t size : sizes) {
    summary.nbytes += static_cast<uint64_t>(size);
  }
  summary.sizes_crc = Crc32(0, std::as_bytes(std::span(sizes)));
  return summary;
}

std::string Encode(const PeerHello& hello) {
  WireWriter out;
  out.PutU64(kHelloMagic);
  // Of a size that is known, so that a hello has one.
  std::string bytes = std::move(out).Take() + hello.token;
  WireWriter rest;
  rest.PutU32(static_cast<uint32_t>(hello.rank));
  Put(hello.outgoing, rest);
  return bytes + rest.data();
}

std::optional<PeerHello> ParseHello(std::string_view bytes) {
  if (bytes.size() != kHelloNbytes) return std::nullopt;
  PeerHello hello;
  WireReader head(bytes.substr(0, sizeof(kHelloMagic)), "a hello");
  if (head.U64() != kHelloMagic) return std::nullopt;
  hello.token = bytes.substr(sizeof(kHelloMagic), kTokenNbytes);
  WireReader in(bytes.substr(sizeof(kHelloMagic) + kTokenNbytes), "a hello");
  const uint32_t rank = in.U32();
  hello.outgoing = GetSummary(in);
  if (!in.Finish().ok()) return std::nullopt;
  if (rank > static_cast<uint32_t>(std::numeric_limits<int>::max())) {
    return std::nullopt;
  }
  hello.rank = static_cast<int>(rank);
  return hello;
}

std::string EncodeWelcome(const TrafficSummary& expected) {
  WireWriter out;
  out.PutU64(kWelcomeMagic);
  Put(expected, out);
  return std::move(out).Take();
}

std::optional<TrafficSummary> ParseWelcome(std::string_view bytes) {
  WireReader in(bytes, "a welcome");
  if (in.U64() != kWelcomeMagic) return std::nullopt;
  const TrafficSummary expected = GetSummary(in);
  if (!in.Finish().ok()) return std::nullopt;
  return expected;
}

bool IsToken(std::string_view given, std::string_view token) {
  if (given.size() != token.size()) return false;
  unsigned difference = 0;
  for (size_t i = 0; i < token.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^
                  static_cast<unsigned char>(token[i]);
  }
  return difference == 0;
}

Status MismatchError(const TrafficMismatch& mismatch) {
  return Internal("rank " + std::to_string(mismatch.sender) + " has " +
                  mismatch.sent.ToString() + " for rank " +
                  std::to_string(mismatch.receiver) + ", which expects " +
                  mismatch.expected.ToString() +
                  ": their plans differ, a defect of dcpcpp");
}

}  // namespace dcp
