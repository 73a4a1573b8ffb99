// SaverChannel: messages between a trainer and its saver.

#ifndef DCP_CHECKPOINT_SAVER_CHANNEL_H_
#define DCP_CHECKPOINT_SAVER_CHANNEL_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "dcp/clock.h"
#include "dcp/status.h"

namespace dcp {

enum class SaverMessageKind : uint8_t {
  kOrder = 1,  ///< to the saver: a SaveOrder
  kCancel,     ///< to the saver: the order in hand is to fail
  kAlive,      ///< to the trainer, now and then, while an order is in hand
  kAnswer,     ///< to the trainer: a SaveAnswer
};

struct SaverMessage {
  SaverMessageKind kind = SaverMessageKind::kAlive;
  std::string content;
};

/// One end of a connected stream socket: u64 length, u8 kind, content. One
/// thread receives; any thread sends.
class SaverChannel {
 public:
  /// `socket` must outlive this.
  explicit SaverChannel(int socket) : socket_(socket) {}

  /// What was sent is the other end's, whatever becomes of this process.
  /// \error kDeadlineExceeded  the other end took nothing for `patience`
  /// \error kUnavailable  there is no other end
  Status Send(SaverMessageKind kind, std::string_view content,
              Clock::Duration patience);
  /// The next message; nullopt if it is not there after `timeout`.
  /// \error kUnavailable  there is no other end
  StatusOr<std::optional<SaverMessage>> Receive(Clock::Duration timeout);

 private:
  Status SendAll(std::string_view data, Clock::Duration patience);
  std::optional<SaverMessage> TakeMessage();

  const int socket_;
  Mutex sending_;
  std::string received_;
};

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVER_CHANNEL_H_
