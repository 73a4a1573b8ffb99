#include "storage/shared_part.h"

#include <limits>
#include <optional>
#include <utility>

#include "base/wire.h"

namespace dcp {
namespace {

int GetRank(WireReader& in) {
  const int64_t rank = in.Signed();
  if (rank < 0 || rank > std::numeric_limits<int>::max()) in.Fail();
  return in.ok() ? static_cast<int>(rank) : 0;
}

/// Whether [begin, end) are bytes of a file of `file_nbytes`.
bool AreIn(int64_t file_nbytes, int64_t begin, int64_t end) {
  return begin >= 0 && begin <= end && end <= file_nbytes;
}

bool IsIn(int64_t file_nbytes, const SharedPartTensor& tensor) {
  const std::optional<int64_t> count = CheckedNumel(tensor.sizes);
  int64_t nbytes = 0;
  int64_t end = 0;
  return count &&
         !__builtin_mul_overflow(*count, ItemSize(tensor.dtype), &nbytes) &&
         !__builtin_add_overflow(tensor.begin, nbytes, &end) &&
         AreIn(file_nbytes, tensor.begin, end);
}

void PutChunk(const SharedPartChunk& chunk, WireWriter& out) {
  out.PutDims(chunk.box.offsets);
  out.PutDims(chunk.box.sizes);
  out.PutSigned(chunk.rank);
  out.PutSigned(chunk.source);
}

SharedPartChunk GetChunk(WireReader& in) {
  SharedPartChunk chunk;
  chunk.box.offsets = in.GetDims();
  chunk.box.sizes = in.GetDims();
  chunk.rank = GetRank(in);
  chunk.source = in.Signed();
  return chunk;
}

void PutTensor(const SharedPartTensor& tensor, WireWriter& out) {
  out.PutSigned(tensor.begin);
  out.PutU8(static_cast<uint8_t>(tensor.dtype));
  out.PutDims(tensor.sizes);
  out.PutFlag(tensor.origin.has_value());
  if (tensor.origin) out.PutDims(*tensor.origin);
  out.PutVarint(tensor.chunks.size());
  for (const SharedPartChunk& chunk : tensor.chunks) PutChunk(chunk, out);
}

SharedPartTensor GetTensor(WireReader& in) {
  SharedPartTensor tensor{.begin = in.Signed()};
  const std::optional<DType> dtype = DTypeFromCode(in.U8());
  if (!dtype) in.Fail();
  tensor.dtype = dtype.value_or(DType::kUInt8);
  tensor.sizes = in.GetDims();
  if (in.Flag()) tensor.origin = in.GetDims();
  if (tensor.origin && tensor.origin->size() != tensor.sizes.size()) in.Fail();
  const size_t count = in.Count(4);
  for (size_t i = 0; i < count && in.ok(); ++i) {
    tensor.chunks.push_back(GetChunk(in));
    const Box& box = tensor.chunks.back().box;
    if (box.offsets.size() != tensor.sizes.size() ||
        box.sizes.size() != tensor.sizes.size() ||
        !InBounds(tensor.sizes, box)) {
      in.Fail();
    }
  }
  return tensor;
}

void PutFile(const SharedPartFile& file, WireWriter& out) {
  out.PutString(file.path);
  out.PutString(file.name);
  out.PutFlag(file.is_own);
  out.PutSigned(file.nbytes);
  out.PutString(file.head);
  out.PutVarint(file.tensors.size());
  for (const SharedPartTensor& tensor : file.tensors) PutTensor(tensor, out);
  out.PutVarint(file.extents.size());
  for (const OwnedExtent& extent : file.extents) {
    out.PutSigned(extent.begin);
    out.PutSigned(extent.end);
    out.PutSigned(extent.owner);
  }
}

SharedPartFile GetFile(WireReader& in) {
  SharedPartFile file;
  file.path = in.String();
  file.name = in.String();
  file.is_own = in.Flag();
  file.nbytes = in.Signed();
  file.head = in.String();
  if (!AreIn(file.nbytes, 0, std::ssize(file.head))) in.Fail();
  const size_t tensors = in.Count(4);
  for (size_t i = 0; i < tensors && in.ok(); ++i) {
    file.tensors.push_back(GetTensor(in));
    if (!IsIn(file.nbytes, file.tensors.back())) in.Fail();
  }
  const size_t extents = in.Count(3);
  for (size_t i = 0; i < extents && in.ok(); ++i) {
    OwnedExtent extent{.begin = in.Signed()};
    extent.end = in.Signed();
    extent.owner = GetRank(in);
    if (!AreIn(file.nbytes, extent.begin, extent.end)) in.Fail();
    file.extents.push_back(extent);
  }
  return file;
}

bool IsChunkOf(const WriteItem& item, const SharedPartTensor& tensor,
               const SharedPartChunk& chunk) {
  if (item.properties.dtype != tensor.dtype) return false;
  if (!tensor.origin) {
    return item.chunk == chunk.box && item.global_size == tensor.sizes;
  }
  return item.chunk.offsets == *tensor.origin &&
         chunk.box == WholeBox(tensor.sizes) &&
         item.chunk.sizes == tensor.sizes;
}

}  // namespace

std::string SerializeSharedPart(const SharedPart& part) {
  WireWriter out;
  out.PutVarint(part.files.size());
  for (const SharedPartFile& file : part.files) PutFile(file, out);
  out.PutVarint(part.addresses.size());
  for (const std::string& address : part.addresses) out.PutString(address);
  return std::move(out).Take();
}

StatusOr<SharedPart> ParseSharedPart(std::string_view data) {
  WireReader in(data, "the coordinator's plan of the files");
  SharedPart part;
  const size_t files = in.Count(6);
  for (size_t i = 0; i < files && in.ok(); ++i) {
    part.files.push_back(GetFile(in));
  }
  const size_t addresses = in.Count(1);
  for (size_t i = 0; i < addresses && in.ok(); ++i) {
    part.addresses.emplace_back(in.String());
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return part;
}

StatusOr<ItemPositions> FindItems(const SavePlan& plan, const SharedPart& part,
                                  int rank) {
  ItemPositions positions;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    if (!positions.emplace(plan.items[i].source, i).second) {
      return Internal("two items of a plan have the source " +
                      std::to_string(plan.items[i].source));
    }
  }
  for (const SharedPartFile& file : part.files) {
    for (const SharedPartTensor& tensor : file.tensors) {
      for (const SharedPartChunk& chunk : tensor.chunks) {
        if (chunk.rank != rank) continue;
        const auto found = positions.find(chunk.source);
        if (found == positions.end() ||
            !IsChunkOf(plan.items[found->second], tensor, chunk)) {
          return Internal("the plan of the files names the item of source " +
                          std::to_string(chunk.source) +
                          ", which this rank does not have");
        }
      }
    }
  }
  return positions;
}

}  // namespace dcp
