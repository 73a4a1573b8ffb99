#include "storage/damage_log.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace dcp {

void DamageLog::Add(Damage damage) {
  MutexLock lock(mutex_);
  damages_.push_back(std::move(damage));
}

void DamageLog::Add(const Status& status, Damage fallback) {
  fallback.message = Message(status);
  if (const auto detail = GetErrorDetail(status)) {
    // What CorruptionError adds is in the fields of the damage.
    const Status bare = CorruptionError("", *detail);
    if (fallback.message.ends_with(Message(bare))) {
      fallback.message.resize(fallback.message.size() - Message(bare).size());
    }
    if (!detail->path.empty()) fallback.path = detail->path;
    if (detail->byte_offset) {
      fallback.byte_offset = detail->byte_offset;
      fallback.nbytes = detail->nbytes;
    }
  }
  Add(std::move(fallback));
}

void DamageLog::AddItem(const Status& status, const StoredItem& item) {
  Add(status, {.fqn = item.index.fqn,
               .path = item.path(),
               .byte_offset = item.info.offset,
               .nbytes = item.info.length});
}

std::vector<Damage> DamageLog::Take() {
  MutexLock lock(mutex_);
  const auto key = [](const Damage& d) {
    return std::tie(d.path, d.byte_offset, d.nbytes, d.fqn, d.message);
  };
  std::sort(damages_.begin(), damages_.end(),
            [&](const Damage& a, const Damage& b) { return key(a) < key(b); });
  damages_.erase(std::unique(damages_.begin(), damages_.end()), damages_.end());
  return std::move(damages_);
}

void AddRange(const BadRange& range, const std::string& path,
              std::span<const StoredItem> items, DamageLog& log) {
  std::set<std::string_view> keys;
  for (const StoredItem& item : items) {
    if (item.info.offset >= range.end) break;
    if (item.info.length > 0 &&
        item.info.offset + item.info.length > range.begin) {
      keys.insert(item.index.fqn);
    }
  }
  std::string message = range.message;
  if (keys.size() > 1) {
    message += " (of this item or " + std::to_string(keys.size() - 1) +
               " more that share the range)";
  }
  if (keys.empty()) keys.insert("");
  for (const std::string_view key : keys) {
    log.Add({.fqn = std::string(key),
             .path = path,
             .byte_offset = range.begin,
             .nbytes = range.end - range.begin,
             .message = message});
  }
}

}  // namespace dcp
