#include "checkpoint/mapped_plan.h"

#include <unordered_map>
#include <utility>

#include "base/wire.h"
#include "checkpoint/mapping_source.h"

namespace dcp {
namespace {

/// By key, the first of those that are in one memory with it on all ranks that
/// have some of it, as these say; its own where they do not agree.
std::unordered_map<std::string_view, std::string_view> IdentitiesOf(
    const GlobalPlan& plan) {
  std::unordered_map<std::string_view, std::string_view> identities;
  for (const SavePlan& of_rank : plan.plans) {
    for (const WriteItem& item : of_rank.items) {
      if (item.chunk.numel() == 0) continue;  // it has no memory
      const auto tie = of_rank.ties.find(item.fqn);
      const std::string& first =
          tie == of_rank.ties.end() ? item.fqn : tie->second;
      const auto [known, is_new] = identities.emplace(item.fqn, first);
      if (!is_new && known->second != first) known->second = item.fqn;
    }
  }
  return identities;
}

/// Tensors that a rule ties, and that are not one in memory, are both written:
/// nobody has compared them, and a save has no second chance.
std::vector<MappingSource> SourcesOf(const GlobalPlan& plan) {
  const auto identities = IdentitiesOf(plan);
  std::vector<MappingSource> sources;
  for (const auto& [fqn, entry] : plan.metadata.entries()) {
    MappingSource source = MappingSourceOf(fqn, entry);
    const auto identity = identities.find(fqn);
    if (identity != identities.end()) source.identity = identity->second;
    sources.push_back(std::move(source));
  }
  return sources;
}

/// A part of a mapped tensor, by what it takes its elements from.
struct Taker {
  size_t tensor = 0;
  const MappedPart* part = nullptr;
};

/// Turns items of ranks into those of mapped tensors.
class ItemMapper {
 public:
  ItemMapper(const Metadata& native, const std::vector<MappedTensor>& tensors)
      : native_(native), tensors_(tensors), takers_(native.entries().size()) {
    for (size_t t = 0; t < tensors.size(); ++t) {
      chunks_.emplace_back();
      for (const MappedPart& part : tensors[t].parts) {
        takers_[part.source].push_back({.tensor = t, .part = &part});
      }
    }
  }

  MappedShare Map(const SavePlan& plan, const std::vector<DType>& dtypes) {
    MappedShare share;
    for (const WriteItem& item : plan.items) {
      for (const Taker& taker : takers_[native_.Position(item.fqn)]) {
        for (MappedRead& read : WritesOf(*taker.part, item.chunk)) {
          Add(taker.tensor, dtypes[taker.tensor], item.source, std::move(read),
              &share);
        }
      }
    }
    return share;
  }

  /// Of the tensor, in the order of the ranks so far.
  std::vector<Box> TakeChunks(size_t tensor) {
    return std::move(chunks_[tensor]);
  }

 private:
  void Add(size_t t, DType dtype, int64_t source, MappedRead read,
           MappedShare* share) {
    const MappedTensor& tensor = tensors_[t];
    chunks_[t].push_back(read.box);
    const bool is_whole = read.box == WholeBox(tensor.sizes);
    share->plan.items.push_back(
        {.fqn = tensor.name,
         .type = is_whole ? WriteItemType::kTensor : WriteItemType::kShard,
         .chunk = read.box,
         .global_size = tensor.sizes,
         .properties = {.dtype = dtype},
         .nbytes = read.box.numel() * ItemSize(dtype),
         .source = std::ssize(share->pieces)});
    share->pieces.push_back({.source = source, .read = std::move(read)});
  }

  const Metadata& native_;
  const std::vector<MappedTensor>& tensors_;
  std::vector<std::vector<Taker>> takers_;  // by entry of native_
  std::vector<std::vector<Box>> chunks_;    // by mapped tensor
};

}  // namespace

StatusOr<MappedPlan> MapPlan(const GlobalPlan& native,
                             const ModelMapping& mapping,
                             const std::function<DType(DType)>& stored_dtype) {
  DCP_ASSIGN_OR_RETURN(
      const std::vector<MappedTensor> tensors,
      mapping.mapping.Plan(SourcesOf(native), mapping.options));
  if (tensors.empty()) {
    return InvalidArgument("the mapping makes nothing of what is saved");
  }
  std::vector<DType> dtypes;
  dtypes.reserve(tensors.size());
  for (const MappedTensor& tensor : tensors) {
    dtypes.push_back(stored_dtype(tensor.dtype));
  }
  MappedPlan mapped;
  ItemMapper mapper(native.metadata, tensors);
  for (const SavePlan& plan : native.plans) {
    mapped.shares.push_back(mapper.Map(plan, dtypes));
  }
  for (size_t t = 0; t < tensors.size(); ++t) {
    mapped.metadata.Add(tensors[t].name, TensorStorageMetadata{
                                             .properties = {.dtype = dtypes[t]},
                                             .size = tensors[t].sizes,
                                             .chunks = mapper.TakeChunks(t)});
  }
  return mapped;
}

std::string SerializeMappedShare(const MappedShare& share) {
  WireWriter out;
  out.PutString(SerializeSavePlan(share.plan));
  for (const auto& [source, read] : share.pieces) {
    out.PutSigned(source);
    out.PutDims(read.target_offsets);
    out.PutDims(read.target_dims);
    out.PutDims(read.target_steps);
  }
  return std::move(out).Take();
}

StatusOr<MappedShare> ParseMappedShare(std::string_view data) {
  WireReader in(data, "the coordinator's plan of mapped tensors");
  DCP_ASSIGN_OR_RETURN(SavePlan plan, ParseSavePlan(in.String()));
  MappedShare share{.plan = std::move(plan)};
  for (const WriteItem& item : share.plan.items) {
    MappedPiece piece{.source = in.Signed(), .read = {.box = item.chunk}};
    piece.read.target_offsets = in.GetDims();
    piece.read.target_dims = in.GetDims();
    piece.read.target_steps = in.GetDims();
    if (piece.read.target_dims.size() != item.chunk.ndim() ||
        piece.read.target_steps.size() != item.chunk.ndim()) {
      in.Fail();
    }
    if (!in.ok()) break;
    share.pieces.push_back(std::move(piece));
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return share;
}

}  // namespace dcp
