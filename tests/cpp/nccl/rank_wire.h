// What a test and its ranks, which are processes (nccl_rank.cc), say to each
// other over a socket.

#ifndef DCP_TESTS_NCCL_RANK_WIRE_H_
#define DCP_TESTS_NCCL_RANK_WIRE_H_

#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "base/wire.h"
#include "dcp/status.h"

namespace dcp::testing {

/// What a rank is to do, or what came of it.
struct RankMessage {
  std::string what;  ///< a command, or a serialized status
  std::vector<std::string> values;
};

inline bool WriteAll(int socket, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t n = ::write(socket, bytes.data() + at, bytes.size() - at);
    if (n <= 0) return false;
    at += static_cast<size_t>(n);
  }
  return true;
}

inline std::optional<std::string> ReadAll(int socket, size_t nbytes) {
  std::string bytes(nbytes, '\0');
  for (size_t at = 0; at < nbytes;) {
    const ssize_t n = ::read(socket, bytes.data() + at, nbytes - at);
    if (n <= 0) return std::nullopt;
    at += static_cast<size_t>(n);
  }
  return bytes;
}

inline bool Tell(int socket, const RankMessage& message) {
  WireWriter body;
  body.PutString(message.what);
  body.PutVarint(message.values.size());
  for (const std::string& value : message.values) body.PutString(value);
  WireWriter frame;
  frame.PutU64(body.data().size());
  return WriteAll(socket, frame.data() + body.data());
}

/// None: the other end is gone.
inline std::optional<RankMessage> Hear(int socket) {
  const auto frame = ReadAll(socket, 8);
  if (!frame) return std::nullopt;
  const auto body = ReadAll(socket, WireReader(*frame, "frame").U64());
  if (!body) return std::nullopt;
  WireReader reader(*body, "message");
  RankMessage message{.what = std::string(reader.String())};
  message.values.resize(reader.Varint());
  for (std::string& value : message.values) value = reader.String();
  return message;
}

}  // namespace dcp::testing

#endif  // DCP_TESTS_NCCL_RANK_WIRE_H_
