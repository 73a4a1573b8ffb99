#include "io/paths.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "base/printable.h"
#include "dcp/file_system.h"

namespace dcp {
namespace {

constexpr int kMaxComponents = 8;
constexpr size_t kMaxComponentNbytes = 255;

std::string Quote(std::string_view text) { return "'" + Printable(text) + "'"; }

bool IsAllowedAscii(uint8_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

struct CodePointRange {
  uint32_t first;
  uint32_t last;
};

/// Not letters in any script: C1 controls, surrogates, and what changes how the
/// text around it is drawn (bidi controls, zero-width, separators, tags).
constexpr std::array kForbidden = {
    CodePointRange{0x80, 0xa0},         CodePointRange{0xad, 0xad},
    CodePointRange{0x61c, 0x61c},       CodePointRange{0x180e, 0x180e},
    CodePointRange{0x2000, 0x200f},     CodePointRange{0x2028, 0x202f},
    CodePointRange{0x205f, 0x206f},     CodePointRange{0x3000, 0x3000},
    CodePointRange{0xd800, 0xf8ff},     CodePointRange{0xfe00, 0xfe0f},
    CodePointRange{0xfeff, 0xfeff},     CodePointRange{0xfff0, 0xffff},
    CodePointRange{0xe0000, 0xffffffff}};

bool IsAllowedBeyondAscii(uint32_t code_point) {
  return std::none_of(
      kForbidden.begin(), kForbidden.end(), [&](const CodePointRange& range) {
        return range.first <= code_point && code_point <= range.last;
      });
}

/// Takes one multi-byte code point off the front of `*text`; nullopt if that is
/// not well-formed UTF-8 in its shortest form (RFC 3629).
std::optional<uint32_t> TakeCodePoint(std::string_view* text) {
  const auto lead = static_cast<uint8_t>(text->front());
  const size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text->size() < n) return std::nullopt;
  uint32_t code_point = lead & (0xffU >> (n + 1));
  for (size_t i = 1; i < n; ++i) {
    const auto byte = static_cast<uint8_t>((*text)[i]);
    if ((byte & 0xc0U) != 0x80) return std::nullopt;
    code_point = code_point << 6U | (byte & 0x3fU);
  }
  constexpr std::array<uint32_t, 5> kSmallest = {0, 0, 0x80, 0x800, 0x10000};
  if (code_point < kSmallest.at(n)) return std::nullopt;
  text->remove_prefix(n);
  return code_point;
}

/// What is wrong with a component, or nullptr.
const char* FaultOf(std::string_view component) {
  if (component.empty()) return "has an empty component";
  if (component == "." || component == "..") {
    return "has a component '.' or '..'";
  }
  if (component.size() > kMaxComponentNbytes) {
    return "has a component of more than 255 bytes";
  }
  while (!component.empty()) {
    const auto byte = static_cast<uint8_t>(component.front());
    if (byte < 0x80) {
      if (!IsAllowedAscii(byte)) return "has a forbidden character";
      component.remove_prefix(1);
      continue;
    }
    const std::optional<uint32_t> code_point = TakeCodePoint(&component);
    if (!code_point) return "is not valid UTF-8";
    if (!IsAllowedBeyondAscii(*code_point)) return "has a forbidden character";
  }
  return nullptr;
}

}  // namespace

Status ValidateRelativePath(std::string_view path) {
  const auto fault = [&](const char* what) {
    return InvalidArgument("file name " + Quote(path) + " " + what);
  };
  if (path.empty()) return fault("is empty");
  if (path.front() == '/') return fault("is absolute");
  int count = 0;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    if (const char* what = FaultOf(path.substr(begin, end - begin))) {
      return fault(what);
    }
    if (++count > kMaxComponents) return fault("has more than 8 components");
    begin = end + 1;
  }
  return absl::OkStatus();
}

std::optional<std::string_view> PathBelow(std::string_view path,
                                          std::string_view directory) {
  while (directory.ends_with('/')) directory.remove_suffix(1);
  if (!path.starts_with(directory)) return std::nullopt;
  path.remove_prefix(directory.size());
  if (!path.starts_with('/')) return std::nullopt;
  while (path.starts_with('/')) path.remove_prefix(1);
  if (path.empty()) return std::nullopt;
  return path;
}

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    path.remove_prefix(slash == path.npos ? path.size() : slash + 1);
  }
  return parts;
}

std::vector<std::string> NormalizedParts(std::string_view path) {
  std::vector<std::string> parts;
  for (std::string& part : SplitPath(path)) {
    if (part != "..") {
      parts.push_back(std::move(part));
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  return parts;
}

std::string JoinPath(std::string_view directory, std::string_view name) {
  std::string path(directory);
  if (!path.empty() && path.back() != '/') path += '/';
  path += name;
  return path;
}

std::string ParentPath(const std::string& path) {
  const size_t name_end = path.find_last_not_of('/');
  if (name_end == std::string::npos) return {};
  const size_t slash = path.rfind('/', name_end);
  if (slash == std::string::npos) return ".";
  const size_t parent_end = path.find_last_not_of('/', slash);
  return parent_end == std::string::npos ? "/" : path.substr(0, parent_end + 1);
}

std::string LastName(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  if (end == std::string::npos) return {};
  const size_t slash = path.rfind('/', end);
  const size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return path.substr(begin, end + 1 - begin);
}

}  // namespace dcp
