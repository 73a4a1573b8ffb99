// Writes `.metadata` byte by byte, as no pickler would, for tests.

#ifndef DCP_TESTS_FORMAT_RAW_METADATA_H_
#define DCP_TESTS_FORMAT_RAW_METADATA_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace dcp {

/// What a text or a value is recalled by: BINGET or LONG_BINGET, 2 or 5 bytes.
using Recall = std::string;

/// A pickle without frames, of which every value is memoized that torch's
/// pickler memoizes.
class RawMetadata {
 public:
  static constexpr std::string_view kModule =
      "torch.distributed.checkpoint.metadata";

  RawMetadata& Raw(std::string_view opcodes) {
    bytes_ += opcodes;
    return *this;
  }
  /// The last value is memoized.
  Recall Memoize() {
    bytes_ += '\x94';
    const uint32_t index = memo_count_++;
    if (index < 256) return {'h', static_cast<char>(index)};
    return "j" + LittleEndian(index);
  }
  Recall Text(std::string_view text) {
    bytes_ += "X" + LittleEndian(static_cast<uint32_t>(text.size()));
    bytes_ += text;
    return Memoize();
  }
  /// A text that is recalled if it was there before.
  RawMetadata& Name(std::string_view name) {
    const auto found = names_.find(name);
    if (found != names_.end()) return Raw(found->second);
    names_.emplace(name, Text(name));
    return *this;
  }
  RawMetadata& Class(std::string_view module, std::string_view name) {
    const std::string whole = std::string(module) + "." + std::string(name);
    const auto found = classes_.find(whole);
    if (found != classes_.end()) return Raw(found->second);
    Name(module).Name(name).Raw("\x93");
    classes_.emplace(whole, Memoize());
    return *this;
  }
  /// An object, up to its first attribute; and its end.
  Recall Begin(std::string_view name, std::string_view module = kModule) {
    Class(module, name).Raw(")\x81");
    Recall object = Memoize();
    Raw("}");
    Memoize();
    Raw("(");
    return object;
  }
  RawMetadata& End() { return Raw("ub"); }
  RawMetadata& EmptyDict() {
    Raw("}");
    Memoize();
    return *this;
  }
  RawMetadata& EmptyList() {
    Raw("]");
    Memoize();
    return *this;
  }
  /// torch.Size of `ndim` times a number of one byte.
  Recall Size(int ndim, char value) {
    Class("torch", "Size").Raw("(");
    for (int d = 0; d < ndim; ++d) Raw({"K", 1}).Raw({&value, 1});
    Raw("t");
    Memoize();
    Raw("\x85");
    Memoize();
    Raw("R");
    return Memoize();
  }
  /// A tensor of `size`, up to its first chunk.
  Recall BeginTensor(int ndim, char size) {
    Recall tensor = Begin("TensorStorageMetadata");
    Name("properties").Class(kModule, "TensorProperties").Raw(")\x81");
    Memoize();
    Raw("(").Class("torch", "float32");
    Class("torch.serialization", "_get_layout").Name("torch.strided");
    Raw("\x85");
    Memoize();
    Raw("R");
    Memoize();
    Raw("\x89").Class(kModule, "_MEM_FORMAT_ENCODING").Raw({"K\0\x85", 3});
    Memoize();
    Raw("R");
    Memoize();
    Raw("\x89t");
    Memoize();
    Raw("b").Name("size").Size(ndim, size);
    Name("chunks").EmptyList().Raw("(");
    return tensor;
  }
  RawMetadata& EndTensor() { return Raw("e").End(); }
  RawMetadata& Object(std::string_view fqn) {
    Text(fqn);
    Class(kModule, "BytesStorageMetadata").Raw(")\x81");
    Memoize();
    return *this;
  }
  RawMetadata& BeginRoot() {
    Begin("Metadata");
    Name("state_dict_metadata").EmptyDict().Raw("(");
    return *this;
  }

  /// With an attribute that only MetadataParser reads if `is_parsed`.
  std::string Finish(bool is_parsed) && {
    if (is_parsed) Name("mcore_data").EmptyDict();
    End().Raw(".");
    return std::move(bytes_);
  }
  size_t nbytes() const { return bytes_.size(); }

 private:
  static std::string LittleEndian(uint32_t value) {
    std::string bytes;
    for (int i = 0; i < 4; ++i) {
      bytes += static_cast<char>((value >> (8 * i)) & 0xff);
    }
    return bytes;
  }

  std::string bytes_ = "\x80\x04";
  uint32_t memo_count_ = 0;
  std::map<std::string, Recall, std::less<>> names_;
  std::map<std::string, Recall, std::less<>> classes_;
};

}  // namespace dcp

#endif  // DCP_TESTS_FORMAT_RAW_METADATA_H_
