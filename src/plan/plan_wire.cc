#include "plan/plan_wire.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

namespace dcp {
namespace {

constexpr size_t kMaxShared = 255;

void PutPath(std::string_view key, const ObjectPath& path, WireWriter* out) {
  std::string joined;
  std::string all;
  out->PutVarint(path.size());
  for (const PathItem& item : path) {
    const bool is_index = std::holds_alternative<int64_t>(item);
    const std::string step = is_index ? std::to_string(std::get<int64_t>(item))
                                      : std::get<std::string>(item);
    out->PutVarint(step.size() * 2 + (is_index ? 1 : 0));
    if (&item != path.data()) joined += '.';
    joined += step;
    all += step;
  }
  out->PutFlag(joined == key);
  if (joined != key) out->PutString(all);
}

PathItem Step(std::string_view text, bool is_index, WireReader* in) {
  if (!is_index) return std::string(text);
  int64_t index = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size()) in->Fail();
  return index;
}

}  // namespace

void PutVersion(const WireVersions& versions, WireWriter* out) {
  out->PutU8(versions.newest);
  out->PutU8(versions.oldest_reader);
}

StatusOr<uint8_t> GetVersion(std::string_view what,
                             const WireVersions& versions, WireReader* in) {
  const uint8_t version = in->U8();
  const uint8_t oldest_reader = in->U8();
  if (!in->ok() ||
      (version >= versions.oldest && oldest_reader <= versions.newest)) {
    return version;
  }
  return FailedPrecondition(
      std::string(what) + " of version " + std::to_string(version) +
      " needs a reader of version " + std::to_string(oldest_reader) +
      ", this reads " + std::to_string(versions.oldest) + " to " +
      std::to_string(versions.newest) +
      ": do all ranks run the same version of dcp?");
}

int64_t SourceAfter(int64_t source) {
  return static_cast<int64_t>(static_cast<uint64_t>(source) + 1);
}

int64_t PlainNbytesOf(const Dims& sizes, int64_t itemsize) {
  int64_t nbytes = 0;
  const std::optional<int64_t> numel = CheckedNumel(sizes);
  if (!numel || __builtin_mul_overflow(*numel, itemsize, &nbytes)) return -1;
  return nbytes;
}

void PutDigest(const Digest128& digest, WireWriter* out) {
  out->PutU64(digest.low);
  out->PutU64(digest.high);
}

Digest128 GetDigest(WireReader* in) {
  const uint64_t low = in->U64();
  return {.low = low, .high = in->U64()};
}

void PutKey(std::string_view key, std::string_view previous, WireWriter* out) {
  const size_t most = std::min({key.size(), previous.size(), kMaxShared});
  const auto differing =
      std::mismatch(key.begin(),
                    key.begin() + static_cast<std::ptrdiff_t>(most),
                    previous.begin())
          .first;
  const auto shared = static_cast<size_t>(differing - key.begin());
  out->PutU8(static_cast<uint8_t>(shared));
  out->PutString(key.substr(shared));
}

std::string GetKey(std::string_view previous, WireReader* in) {
  const size_t shared = in->U8();
  const std::string_view rest = in->String();
  if (shared > previous.size()) {
    in->Fail();
    return {};
  }
  std::string key(previous.substr(0, shared));
  key += rest;
  return key;
}

void PutProperties(const TensorProperties& properties, WireWriter* out) {
  out->PutU8(static_cast<uint8_t>(properties.dtype));
  out->PutU8(static_cast<uint8_t>(properties.layout));
  out->PutU8(static_cast<uint8_t>(
      static_cast<int>(properties.memory_format) * 4 +
      (properties.requires_grad ? 1 : 0) + (properties.pin_memory ? 2 : 0)));
}

TensorProperties GetProperties(WireReader* in) {
  const std::optional<DType> dtype = DTypeFromCode(in->U8());
  const uint8_t layout = in->U8();
  const uint8_t rest = in->U8();
  if (!dtype || layout > static_cast<uint8_t>(Layout::kJagged) ||
      rest / 4 > static_cast<uint8_t>(MemoryFormat::kPreserve)) {
    in->Fail();
    return {};
  }
  return {.dtype = *dtype,
          .layout = static_cast<Layout>(layout),
          .requires_grad = (rest & 1) != 0,
          .memory_format = static_cast<MemoryFormat>(rest / 4),
          .pin_memory = (rest & 2) != 0};
}

void PutPaths(const PlannerPaths& paths, WireWriter* out) {
  std::vector<std::pair<std::string_view, const ObjectPath*>> sorted;
  sorted.reserve(paths.size());
  for (const auto& [key, path] : paths) sorted.emplace_back(key, &path);
  std::sort(sorted.begin(), sorted.end());
  out->PutVarint(sorted.size());
  std::string_view previous;
  for (const auto& [key, path] : sorted) {
    PutKey(key, previous, out);
    PutPath(key, *path, out);
    previous = key;
  }
}

ObjectPath GetPath(std::string_view key, WireReader* in) {
  std::vector<uint64_t> lengths(in->Count(1));
  for (uint64_t& length : lengths) length = in->Varint();
  const bool is_key = in->Flag();
  std::string_view steps = is_key ? key : in->String();
  ObjectPath path;
  for (size_t i = 0; in->ok() && i < lengths.size(); ++i) {
    if (is_key && i > 0) {
      if (!steps.starts_with('.')) in->Fail();
      steps.remove_prefix(std::min<size_t>(1, steps.size()));
    }
    const uint64_t length = lengths[i] / 2;
    if (length > steps.size()) in->Fail();
    path.push_back(Step(steps.substr(0, length), lengths[i] % 2 != 0, in));
    steps.remove_prefix(std::min<size_t>(length, steps.size()));
  }
  if (!steps.empty()) in->Fail();
  return path;
}

PlannerPaths GetPaths(WireReader* in) {
  PlannerPaths paths;
  std::string previous;
  for (size_t left = in->Count(4); in->ok() && left > 0; --left) {
    previous = GetKey(previous, in);
    if (!paths.emplace(previous, GetPath(previous, in)).second) in->Fail();
  }
  return paths;
}

void PutTies(const Ties& ties, WireWriter* out) {
  out->PutVarint(ties.size());
  for (const auto& [fqn, first] : ties) {
    out->PutString(fqn);
    out->PutString(first);
  }
}

Ties GetTies(WireReader* in) {
  Ties ties;
  for (size_t left = in->Count(2); in->ok() && left > 0; --left) {
    std::string fqn(in->String());
    ties.emplace(std::move(fqn), in->String());
  }
  return ties;
}

}  // namespace dcp
