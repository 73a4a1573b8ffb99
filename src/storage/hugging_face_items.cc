#include "storage/hugging_face_items.h"

#include <optional>
#include <utility>

#include "base/wire.h"
#include "format/safetensors_dtype.h"

namespace dcp {

Status CheckHuggingFaceItem(const WriteItem& item) {
  if (item.type == WriteItemType::kByteIo) {
    return WithDetail(
        InvalidArgument(item.fqn +
                        " is no tensor, and safetensors files hold nothing "
                        "else; leave it out (exclude=) or save it in "
                        "PyTorch's own format"),
        {.fqn = item.fqn});
  }
  const DType dtype = item.properties.dtype;
  if (SafetensorsDTypeOf(dtype)) return absl::OkStatus();
  return WithDetail(
      InvalidArgument("safetensors has no type for the " +
                      std::string(DTypeName(dtype)) + " tensor " + item.fqn),
      {.fqn = item.fqn});
}

StatusOr<SafetensorsTensor> DescribeTensor(std::string_view fqn, DType dtype,
                                           const Dims& sizes) {
  if (const auto stored = SafetensorsDTypeOf(dtype)) {
    if (auto shape = SafetensorsShapeOf(*stored, sizes)) {
      return SafetensorsTensor{.name = std::string(fqn),
                               .dtype = *stored,
                               .shape = *std::move(shape)};
    }
  }
  return WithDetail(InvalidArgument("safetensors cannot store the tensor " +
                                    std::string(fqn) + " of dtype " +
                                    std::string(DTypeName(dtype)) +
                                    " and shape " + ToString(sizes)),
                    {.fqn = std::string(fqn)});
}

StatusOr<int64_t> FileNumberOf(
    const std::map<std::string, int64_t>& file_numbers, std::string_view fqn) {
  const auto number = file_numbers.find(std::string(fqn));
  if (number == file_numbers.end()) {
    return InvalidArgument("fqn_to_index_mapping has no file for " +
                           std::string(fqn));
  }
  if (number->second < 1) {
    return InvalidArgument("fqn_to_index_mapping gives " + std::string(fqn) +
                           " the file " + std::to_string(number->second) +
                           "; files are counted from 1");
  }
  return number->second;
}

std::string SerializeNotes(const LocalNotes& notes) {
  WireWriter out;
  out.PutString(notes.space);
  out.PutString(notes.address);
  return std::move(out).Take();
}

StatusOr<LocalNotes> ParseNotes(std::string_view data, size_t rank) {
  WireReader in(data, "the storage's notes of rank " + std::to_string(rank));
  LocalNotes notes{.space = std::string(in.String())};
  notes.address = in.String();
  DCP_RETURN_IF_ERROR(in.Finish());
  return notes;
}

StatusOr<std::vector<WriteResult>> ResultsOf(const SavePlan& plan,
                                             const SharedPart& part, int rank) {
  DCP_ASSIGN_OR_RETURN(const ItemPositions positions,
                       FindItems(plan, part, rank));
  std::vector<WriteResult> results;
  results.reserve(plan.items.size());
  for (const WriteItem& item : plan.items) {
    results.push_back({.index = item.index(), .size_in_bytes = item.nbytes});
  }
  for (const SharedPartFile& file : part.files) {
    for (const SharedPartTensor& tensor : file.tensors) {
      for (const SharedPartChunk& chunk : tensor.chunks) {
        if (chunk.rank != rank) continue;
        results[positions.at(chunk.source)].storage_info = {
            .relative_path = file.name,
            .offset = tensor.begin,
            .length = tensor.nbytes()};
      }
    }
  }
  return results;
}

}  // namespace dcp
