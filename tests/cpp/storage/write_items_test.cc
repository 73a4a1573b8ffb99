#include "storage/write_items.h"

#include <catch2/catch.hpp>
#include <string>

#include "conformance/storage_state.h"

namespace dcp {
namespace {

/// Resolves everything to one payload.
class OneSource final : public WriteSource {
 public:
  explicit OneSource(WritePayload payload) : payload_(std::move(payload)) {}
  StatusOr<WritePayload> Resolve(const WriteItem&) override { return payload_; }

 private:
  const WritePayload payload_;
};

TEST_CASE("a payload must be what was planned", "[storage]") {
  std::string memory(64, 'x');
  const WriteItem tensor{
      .fqn = "w", .chunk = {.offsets = {0}, .sizes = {4}}, .global_size = {4}};
  const WriteItem object{.fqn = "x", .type = WriteItemType::kByteIo};
  OneSource view(ContiguousView(memory.data(), DType::kFloat32, {4}));
  OneSource other(ContiguousView(memory.data(), DType::kFloat32, {2, 2}));
  OneSource bytes(WritePayload(std::string_view("encoded")));
  CHECK(ResolveItem(view, tensor).ok());
  CHECK(ResolveItem(bytes, tensor).ok());
  CHECK(ResolveItem(bytes, object).ok());
  CHECK(ResolveItem(other, tensor).status().code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(ResolveItem(view, object).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE(
    "floating point is stored in the dtype of the export, other types "
    "as they are",
    "[storage]") {
  const FileSystemWriterOptions options{.export_dtype = DType::kFloat16};
  CHECK(StoredDType(options, DType::kFloat32) == DType::kFloat16);
  CHECK(StoredDType(options, DType::kFloat8E4M3FN) == DType::kFloat16);
  CHECK(StoredDType(options, DType::kInt32) == DType::kInt32);
  CHECK(StoredDType(options, DType::kComplex64) == DType::kComplex64);
  CHECK(StoredDType(options, DType::kBool) == DType::kBool);
  CHECK(StoredDType({}, DType::kFloat32) == DType::kFloat32);
}

}  // namespace
}  // namespace dcp
