// Mapping: a model's tensors under other names and in another layout.
//
// A mapping is a table of rules between the names of a trainer ("native":
// TorchTitan's) and Hugging Face's, and works both ways. It is data: tables of
// well-known models are built in, others come from JSON texts
// (src/mapping/MAPPING.md). Everything here is pure: what is planned says which
// elements of which tensors go where, and whoever has the data moves them.

#ifndef DCP_MAPPING_H_
#define DCP_MAPPING_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dcp/dims.h"
#include "dcp/dtype.h"
#include "dcp/status.h"

namespace dcp {

/// Numbers of a model by their names in its config.json: "hidden_size", and
/// "text_config.hidden_size" of one in another object. A bool is 0 or 1.
using ModelNumbers = std::map<std::string, int64_t, std::less<>>;

/// The numbers of a config.json; whatever else it holds is left out.
/// \error kDataLoss  no JSON object
StatusOr<ModelNumbers> ParseModelNumbers(std::string_view config_json);

enum class MappingDirection : uint8_t { kToHuggingFace, kToNative };

struct MappingOptions {
  MappingDirection direction = MappingDirection::kToHuggingFace;
  /// What rules ask for, the number of heads for example.
  ModelNumbers numbers;
  /// Which version of the native names. Empty: from native, the one of the
  /// mapping that has rules for the most keys; to native, the first.
  std::string dialect;
  /// The source's quantized weights are read as floats: their scales, which
  /// are keys as well, have nothing left to tell.
  bool is_dequantized = false;
};

/// A key of what is mapped.
struct MappingSource {
  std::string name;
  Dims sizes;
  DType dtype = DType::kFloat32;
  bool is_object = false;  ///< no tensor: nothing but dropping it is possible
  /// The user wants none of it: no rule is needed for it, none makes it.
  bool is_left_out = false;
  /// Sources that have one text here are one tensor, those that have two are
  /// not, whatever a rule says of ties. Empty: nobody knows.
  std::string identity;
};

/// One of the indices i that say which element of a source goes where.
struct MappedAxis {
  int64_t size = 1;  ///< 0 <= i < size
  int source_dim = 0;
  int64_t source_step = 0;  ///< an index along source_dim per i; may be < 0
  int target_dim = 0;
  int64_t target_step = 0;  ///< likewise, and > 0
  bool operator==(const MappedAxis&) const = default;
};

/// Elements that one source gives to one target: for every combination of the
/// axes' indices, the element source_offsets + sum(i * source_step) becomes the
/// one at target_offsets + sum(i * target_step).
struct MappedPart {
  size_t source = 0;  ///< position in what was given to Mapping::Plan
  Dims source_offsets;
  Dims target_offsets;
  std::vector<MappedAxis> axes;
};

/// A tensor of the result. Every element is in exactly one part.
struct MappedTensor {
  std::string name;
  Dims sizes;
  DType dtype = DType::kFloat32;
  std::vector<MappedPart> parts;
};

/// A box of a source and where it goes in a box of a target. Element `i` of it
/// goes to target_offsets + sum over d of i[d] * target_steps[d] along
/// dimension target_dims[d].
struct MappedRead {
  size_t source = 0;
  Box box;
  Dims target_offsets;  ///< relative to the target's box
  Dims target_dims;     ///< by dimension of the source
  Dims target_steps;    ///< likewise; 0 where the box has one index
};

/// What fills `box` of `tensor`: every element of it exactly once.
///
/// Reads of boxes that make up the tensor take every element of its sources'
/// parts exactly once.
std::vector<MappedRead> ReadsOf(const MappedTensor& tensor, const Box& box);

/// Where the elements of `box` of the source of `part` go: every one of them
/// that the part takes, exactly once. As ReadsOf with the sides exchanged:
/// MappedRead::box is one of the target, and target_offsets, target_dims and
/// target_steps tell where in the source's `box` its elements lie.
std::vector<MappedRead> WritesOf(const MappedPart& part, const Box& box);

/// A source that is left out as another name of one, and is no more than that
/// if both hold the same values.
struct TiedSource {
  size_t source = 0;  ///< positions in what was given to Mapping::Ties
  size_t kept = 0;
  std::string condition;  ///< the number that says so
};

struct MappingTable;

/// Immutable, cheap to copy.
class Mapping {
 public:
  /// \error kInvalidArgument  not a mapping; names the rule
  static StatusOr<Mapping> Parse(std::string_view json);
  /// \error kInvalidArgument  there is none; names those there are
  static StatusOr<Mapping> BuiltIn(std::string_view model);
  static std::vector<std::string> BuiltInModels();

  /// The rules of this mapping, and after them those of `base`, whose dialects,
  /// flavors and file_stem count where this one has none.
  Mapping Over(const Mapping& base) const;

  /// Numbers of a model that is known by name, as "8B".
  /// \error kInvalidArgument  the mapping has no such flavor
  StatusOr<ModelNumbers> NumbersOfFlavor(std::string_view flavor) const;

  /// Whether rules expect quantized weights of Hugging Face's files to be read
  /// as floats (MappingOptions::is_dequantized).
  bool dequantizes() const;

  /// How Hugging Face's files are called: HuggingFaceWriterOptions::file_stem.
  /// Empty: as ever.
  const std::string& file_stem() const;

  /// What becomes of `sources`, in their order.
  /// \error kInvalidArgument  a key for which there is no rule; one of several
  ///     parts that is missing; shapes that do not fit; a number that nobody
  ///     gave; two results of one name; another name of what is not there.
  ///     Names the keys.
  StatusOr<std::vector<MappedTensor>> Plan(
      std::span<const MappingSource> sources,
      const MappingOptions& options) const;

  /// What Plan leaves out without knowing (MappingSource::identity) that it is
  /// no loss: who has the values compares them.
  /// \error kInvalidArgument  as Plan
  StatusOr<std::vector<TiedSource>> Ties(std::span<const MappingSource> sources,
                                         const MappingOptions& options) const;

 private:
  explicit Mapping(std::shared_ptr<const MappingTable> table);

  std::shared_ptr<const MappingTable> table_;
};

/// A mapping and how it is applied.
struct ModelMapping {
  Mapping mapping;
  MappingOptions options;
};

/// How a user names a mapping; empty texts are not given.
struct ModelMappingRequest {
  std::string model;        ///< a built-in mapping
  std::string rules_json;   ///< a mapping, or with `model` rules before its own
  std::string flavor;       ///< of either
  std::string config_json;  ///< the content of a config.json
  MappingDirection direction = MappingDirection::kToHuggingFace;
  std::string dialect;
};

/// \error kInvalidArgument  neither `model` nor `rules_json`; what BuiltIn,
///     Parse and NumbersOfFlavor refuse; flavor and config.json contradict each
///     other
/// \error kDataLoss  `config_json` is none
StatusOr<ModelMapping> MakeModelMapping(const ModelMappingRequest& request);

}  // namespace dcp

#endif  // DCP_MAPPING_H_
