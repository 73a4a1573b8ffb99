// SaveOrder: a save that a saver is to carry out, as bytes.

#ifndef DCP_CHECKPOINT_SAVE_ORDER_H_
#define DCP_CHECKPOINT_SAVE_ORDER_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dcp/checkpoint.h"
#include "dcp/clock.h"
#include "dcp/hugging_face_storage.h"

namespace dcp {

/// Everything but the entries.
struct SaveOrder {
  int rank = 0;
  int world_size = 1;
  int coordinator = 0;
  /// How long another rank may show no life.
  Clock::Duration patience{0};
  /// Of the trainer, for the files.
  mode_t umask = 0;
  /// The part of the segment that the tensors lie in.
  int64_t memory_offset = 0;
  int64_t memory_nbytes = 0;
  std::variant<FileSystemWriterOptions, HuggingFaceWriterOptions> writer;
  SaveOptions save;  ///< without a trace

  /// What all writers have.
  const std::string& path() const { return Of(&Native::path, &Hf::path); }
  bool sync_files() const { return Of(&Native::sync_files, &Hf::sync_files); }
  const IoOptions& io() const { return Of(&Native::io, &Hf::io); }
  const std::string& session_id() const {
    return Of(&Native::session_id, &Hf::session_id);
  }
  void set_session_id(const std::string& id) {
    std::visit([&](auto& options) { options.session_id = id; }, writer);
  }

 private:
  using Native = FileSystemWriterOptions;
  using Hf = HuggingFaceWriterOptions;

  template <typename Field>
  const Field& Of(Field Native::*native, Field Hf::*hugging_face) const {
    if (const auto* options = std::get_if<Native>(&writer)) {
      return options->*native;
    }
    return std::get<Hf>(writer).*hugging_face;
  }
};

/// `entries` as they are to be read: their tensors lie in `memory`.
std::string SerializeSaveOrder(const SaveOrder& order,
                               std::span<const SaveEntry> entries,
                               std::span<const std::byte> memory);

/// An order whose entries are not read yet.
struct ParsedSaveOrder {
  SaveOrder order;
  std::string_view entries;  ///< in what was parsed
};
/// \error kDataLoss  garbled
/// \error kFailedPrecondition  another version's
StatusOr<ParsedSaveOrder> ParseSaveOrder(std::string_view data);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_SAVE_ORDER_H_
