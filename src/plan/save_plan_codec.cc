// A save plan on the wire (base/wire.h):
//
//   u8 version, u8 oldest version of a reader that understands it
//   count of items, then each:
//     u8 flags: bits 0-1 WriteItemType, then what differs from the default
//     key       u8 bytes shared with the key before, string of the others
//     [kProperties]  u8 dtype, u8 layout, u8 memory format and booleans
//     [kGlobalSize]  dims; default: those of the item before
//     [kChunk]       dims offsets, dims sizes; default: the whole tensor
//     [kNbytes]      signed; default: elements * itemsize
//     [kSource]      signed; default: one more than the item before
//   u8 whether planner_data follows: count, then by ascending key each:
//     key       as above
//     count of steps, then each: varint length * 2 + (1 if a list index)
//     unless the steps joined by '.' are the key: a string of all steps
//   from version 2 on: count of ties, then each: two strings
//
// Sharing keys is limited to 255 bytes, so that a message cannot expand beyond
// a fixed multiple of its size.

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/wire.h"
#include "dcp/plan.h"

namespace dcp {
namespace {

constexpr uint8_t kVersion = 2;
constexpr uint8_t kOldestReader = 1;

constexpr uint8_t kTypeMask = 0x03;
constexpr uint8_t kProperties = 0x04;
constexpr uint8_t kGlobalSize = 0x08;
constexpr uint8_t kChunk = 0x10;
constexpr uint8_t kNbytes = 0x20;
constexpr uint8_t kSource = 0x40;
constexpr uint8_t kUnknownFlags = 0x80;

constexpr size_t kMaxShared = 255;
// A plan's memory grows with the bytes that were read, not with their count.
constexpr size_t kMaxReserve = 4096;

/// What the first item of a plan is compared with.
WriteItem BeforeFirst() { return {.source = -1}; }

/// Wraps around, because a message may say anything.
int64_t SourceAfter(const WriteItem& previous) {
  return static_cast<int64_t>(static_cast<uint64_t>(previous.source) + 1);
}

/// The payload bytes of `item`'s chunk if it is stored plainly, -1 if there is
/// no such number.
int64_t PlainNbytes(const WriteItem& item) {
  int64_t nbytes = 0;
  const std::optional<int64_t> numel = CheckedNumel(item.chunk.sizes);
  if (!numel || __builtin_mul_overflow(*numel, ItemSize(item.properties.dtype),
                                       &nbytes)) {
    return -1;
  }
  return nbytes;
}

class Encoder {
 public:
  void PutItem(const WriteItem& item, const WriteItem& previous) {
    auto flags = static_cast<uint8_t>(item.type);
    if (item.properties != previous.properties) flags |= kProperties;
    if (item.global_size != previous.global_size) flags |= kGlobalSize;
    if (item.chunk != WholeBox(item.global_size)) flags |= kChunk;
    if (item.nbytes != PlainNbytes(item)) flags |= kNbytes;
    if (item.source != SourceAfter(previous)) flags |= kSource;
    out_.PutU8(flags);
    PutKey(item.fqn, previous.fqn);
    if ((flags & kProperties) != 0) PutProperties(item.properties);
    if ((flags & kGlobalSize) != 0) out_.PutDims(item.global_size);
    if ((flags & kChunk) != 0) {
      out_.PutDims(item.chunk.offsets);
      out_.PutDims(item.chunk.sizes);
    }
    if ((flags & kNbytes) != 0) out_.PutSigned(item.nbytes);
    if ((flags & kSource) != 0) out_.PutSigned(item.source);
  }

  void PutPaths(const std::unordered_map<std::string, ObjectPath>& paths) {
    std::vector<std::pair<std::string_view, const ObjectPath*>> sorted;
    sorted.reserve(paths.size());
    for (const auto& [key, path] : paths) sorted.emplace_back(key, &path);
    std::sort(sorted.begin(), sorted.end());
    out_.PutVarint(sorted.size());
    std::string_view previous;
    for (const auto& [key, path] : sorted) {
      PutKey(key, previous);
      PutPath(key, *path);
      previous = key;
    }
  }

  WireWriter& out() { return out_; }

 private:
  void PutKey(std::string_view key, std::string_view previous) {
    const size_t most = std::min({key.size(), previous.size(), kMaxShared});
    const auto differing =
        std::mismatch(key.begin(),
                      key.begin() + static_cast<std::ptrdiff_t>(most),
                      previous.begin())
            .first;
    const auto shared = static_cast<size_t>(differing - key.begin());
    out_.PutU8(static_cast<uint8_t>(shared));
    out_.PutString(key.substr(shared));
  }

  void PutProperties(const TensorProperties& properties) {
    out_.PutU8(static_cast<uint8_t>(properties.dtype));
    out_.PutU8(static_cast<uint8_t>(properties.layout));
    out_.PutU8(static_cast<uint8_t>(
        static_cast<int>(properties.memory_format) * 4 +
        (properties.requires_grad ? 1 : 0) + (properties.pin_memory ? 2 : 0)));
  }

  void PutPath(std::string_view key, const ObjectPath& path) {
    std::string joined;
    std::string all;
    out_.PutVarint(path.size());
    for (const PathItem& item : path) {
      const bool is_index = std::holds_alternative<int64_t>(item);
      const std::string step = is_index
                                   ? std::to_string(std::get<int64_t>(item))
                                   : std::get<std::string>(item);
      out_.PutVarint(step.size() * 2 + (is_index ? 1 : 0));
      if (&item != path.data()) joined += '.';
      joined += step;
      all += step;
    }
    out_.PutU8(joined == key ? 1 : 0);
    if (joined != key) out_.PutString(all);
  }

  WireWriter out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view data) : in_(data, "a save plan") {}

  WireReader& in() { return in_; }

  WriteItem Item(const WriteItem& previous) {
    WriteItem item;
    const uint8_t flags = in_.U8();
    const uint8_t type = flags & kTypeMask;
    if (type == 0 || (flags & kUnknownFlags) != 0) in_.Fail();
    item.type = static_cast<WriteItemType>(type);
    item.fqn = Key(previous.fqn);
    item.properties =
        (flags & kProperties) != 0 ? Properties() : previous.properties;
    item.global_size =
        (flags & kGlobalSize) != 0 ? in_.GetDims() : previous.global_size;
    item.chunk = (flags & kChunk) != 0
                     ? Box{.offsets = in_.GetDims(), .sizes = in_.GetDims()}
                     : WholeBox(item.global_size);
    item.nbytes = (flags & kNbytes) != 0 ? in_.Signed() : PlainNbytes(item);
    item.source = (flags & kSource) != 0 ? in_.Signed() : SourceAfter(previous);
    return item;
  }

  std::unordered_map<std::string, ObjectPath> Paths() {
    std::unordered_map<std::string, ObjectPath> paths;
    std::string previous;
    for (size_t left = in_.Count(4); in_.ok() && left > 0; --left) {
      previous = Key(previous);
      if (!paths.emplace(previous, Path(previous)).second) in_.Fail();
    }
    return paths;
  }

 private:
  std::string Key(std::string_view previous) {
    const size_t shared = in_.U8();
    const std::string_view rest = in_.String();
    if (shared > previous.size()) {
      in_.Fail();
      return {};
    }
    std::string key(previous.substr(0, shared));
    key += rest;
    return key;
  }

  TensorProperties Properties() {
    const std::optional<DType> dtype = DTypeFromCode(in_.U8());
    const uint8_t layout = in_.U8();
    const uint8_t rest = in_.U8();
    if (!dtype || layout > static_cast<uint8_t>(Layout::kJagged) ||
        rest / 4 > static_cast<uint8_t>(MemoryFormat::kPreserve)) {
      in_.Fail();
      return {};
    }
    return {.dtype = *dtype,
            .layout = static_cast<Layout>(layout),
            .requires_grad = (rest & 1) != 0,
            .memory_format = static_cast<MemoryFormat>(rest / 4),
            .pin_memory = (rest & 2) != 0};
  }

  ObjectPath Path(std::string_view key) {
    std::vector<uint64_t> lengths(in_.Count(1));
    for (uint64_t& length : lengths) length = in_.Varint();
    const bool is_key = in_.U8() != 0;
    std::string_view steps = is_key ? key : in_.String();
    ObjectPath path;
    for (size_t i = 0; in_.ok() && i < lengths.size(); ++i) {
      if (is_key && i > 0) {
        if (!steps.starts_with('.')) in_.Fail();
        steps.remove_prefix(std::min<size_t>(1, steps.size()));
      }
      const uint64_t length = lengths[i] / 2;
      if (length > steps.size()) in_.Fail();
      path.push_back(Step(steps.substr(0, length), lengths[i] % 2 != 0));
      steps.remove_prefix(std::min<size_t>(length, steps.size()));
    }
    if (!steps.empty()) in_.Fail();
    return path;
  }

  PathItem Step(std::string_view text, bool is_index) {
    if (!is_index) return std::string(text);
    int64_t index = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), index);
    if (error != std::errc() || end != text.data() + text.size()) in_.Fail();
    return index;
  }

  WireReader in_;
};

}  // namespace

std::string SerializeSavePlan(const SavePlan& plan) {
  Encoder encoder;
  encoder.out().PutU8(kVersion);
  encoder.out().PutU8(kOldestReader);
  encoder.out().PutVarint(plan.items.size());
  const WriteItem before_first = BeforeFirst();
  const WriteItem* previous = &before_first;
  for (const WriteItem& item : plan.items) {
    encoder.PutItem(item, *previous);
    previous = &item;
  }
  encoder.out().PutU8(plan.planner_data ? 1 : 0);
  if (plan.planner_data) encoder.PutPaths(*plan.planner_data);
  encoder.out().PutVarint(plan.ties.size());
  for (const auto& [fqn, first] : plan.ties) {
    encoder.out().PutString(fqn);
    encoder.out().PutString(first);
  }
  return std::move(encoder.out()).Take();
}

StatusOr<SavePlan> ParseSavePlan(std::string_view data) {
  Decoder decoder(data);
  WireReader& in = decoder.in();
  const uint8_t version = in.U8();
  const uint8_t oldest_reader = in.U8();
  if (in.ok() && oldest_reader > kVersion) {
    return FailedPrecondition(
        "a save plan of version " + std::to_string(version) +
        " needs a reader of version " + std::to_string(oldest_reader) +
        ", this is " + std::to_string(kVersion) +
        ": do all ranks run the same version of dcp?");
  }
  SavePlan plan;
  const size_t count = in.Count(3);
  plan.items.reserve(std::min(count, kMaxReserve));
  const WriteItem before_first = BeforeFirst();
  for (size_t i = 0; in.ok() && i < count; ++i) {
    plan.items.push_back(
        decoder.Item(i == 0 ? before_first : plan.items.back()));
  }
  const uint8_t has_paths = in.U8();
  if (has_paths > 1) in.Fail();
  if (in.ok() && has_paths == 1) plan.planner_data = decoder.Paths();
  if (version >= 2) {
    for (size_t left = in.Count(2); in.ok() && left > 0; --left) {
      std::string fqn(in.String());
      plan.ties.emplace(std::move(fqn), in.String());
    }
  }
  DCP_RETURN_IF_ERROR(in.status());
  // A newer version may append what an old reader does not need.
  if (version <= kVersion) DCP_RETURN_IF_ERROR(in.Finish());
  return plan;
}

}  // namespace dcp
