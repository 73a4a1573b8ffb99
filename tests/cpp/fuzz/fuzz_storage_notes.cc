// What storages tell their ranks of themselves: quantized tensors, checksums,
// free space; whatever is accepted can be told again.

#include <string_view>

#include "base/wire.h"
#include "fuzz/fuzz_target.h"
#include "storage/hugging_face_items.h"
#include "storage/hugging_face_reader.h"
#include "storage/quantized_tensors.h"
#include "storage/space_check.h"

namespace dcp {
namespace {

std::string HuggingFaceData(std::string_view quantized,
                            std::string_view sidecar) {
  WireWriter out;
  out.PutString(quantized);
  out.PutString(sidecar);
  return std::move(out).Take();
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  const std::string quantized =
      SerializeQuantized({{"w", {.scales = "w_scale_inv"}},
                          {"e",
                           {.kind = QuantizedTensor::Kind::kMxfp4,
                            .stored_dtype = DType::kUInt8,
                            .group_nbytes = 16,
                            .scales = "e_scales"}}});
  const Sidecar sidecar{
      .step = 7, .files = {{.name = "model.safetensors", .nbytes = 1024}}};
  const std::string space =
      EncodeSpace(SpaceInfo{.free_nbytes = 1 << 30, .pool = "a disk"});
  return {quantized,
          SerializeQuantized({}),
          HuggingFaceData(quantized, SerializeSidecar(sidecar)),
          HuggingFaceData(quantized, ""),
          space,
          EncodeSpace(std::nullopt),
          SerializeNotes({.space = space, .address = "here"})};
}
std::vector<std::string> FuzzDictionary() { return WireDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto tensors = dcp::ParseQuantized(input); tensors.ok()) {
    const auto again = dcp::ParseQuantized(dcp::SerializeQuantized(*tensors));
    dcp::Require(again.ok() && *again == *tensors, "quantized tensors stay");
  }
  (void)dcp::ParseHuggingFaceNotes(input);
  const std::vector<dcp::SavePlan> plans(2);
  const std::vector<std::string> spaces(2, std::string(input));
  (void)dcp::CheckSpace(plans, spaces, std::nullopt, "/ckpt");
  if (const auto notes = dcp::ParseNotes(input, 1); notes.ok()) {
    const auto again = dcp::ParseNotes(dcp::SerializeNotes(*notes), 1);
    dcp::Require(again.ok() && again->space == notes->space &&
                     again->address == notes->address,
                 "a rank's notes come back");
  }
  return 0;
}
