#include "checkpoint/convert_source.h"

#include <algorithm>
#include <utility>

namespace dcp {
namespace {

constexpr int64_t kMaxResolvedNbytes = int64_t{256} << 20;

std::span<const SourceTensor> Streamed(const ConversionPlan& plan) {
  const bool any = std::any_of(plan.items.begin(), plan.items.end(),
                               [](const ConvertedItem& item) {
                                 return item.kind == ConvertedKind::kStreamed;
                               });
  if (!any) return {};
  return plan.tensors;
}

}  // namespace

ConvertSource::ConvertSource(const ConversionPlan& plan, StorageReader& reader,
                             Transport& transport,
                             const ConvertOptions& options)
    : plan_(plan),
      transport_(transport),
      options_(options),
      reader_(reader, [this] { return ahead_.Proceed(); }),
      ahead_(Streamed(plan), reader_, {}) {}

Status ConvertSource::Start() { return ahead_.Start(); }

StatusOr<WritePayload> ConvertSource::Resolve(const WriteItem& item) {
  if (item.type == WriteItemType::kByteIo) return ResolveObject(item);
  const ConvertedItem& converted = ConvertedOf(item);
  return converted.kind == ConvertedKind::kEncoded
             ? ResolveEncoded(item, converted)
             : ResolvePiece(item, converted);
}

StatusOr<WritePayload> ConvertSource::ResolveObject(const WriteItem& item) {
  const MutexLock lock(mutex_);
  if (!has_objects_) DCP_RETURN_IF_ERROR(ReadObjects());
  return WritePayload(
      std::string_view(objects_.at(ConvertedOf(item).index.fqn)));
}

Status ConvertSource::ReadObjects() {
  std::vector<std::string_view> keys;
  for (const WriteItem& item : plan_.save.items) {
    if (item.type == WriteItemType::kByteIo) {
      keys.push_back(ConvertedOf(item).index.fqn);
    }
  }
  DCP_ASSIGN_OR_RETURN(std::vector<std::string> objects,
                       reader_.ReadObjects(keys));
  for (size_t i = 0; i < keys.size(); ++i) {
    objects_.emplace(keys[i], std::move(objects[i]));
  }
  has_objects_ = true;
  return absl::OkStatus();
}

StatusOr<WritePayload> ConvertSource::ResolveEncoded(
    const WriteItem& item, const ConvertedItem& converted) {
  DCP_ASSIGN_OR_RETURN(std::string bytes,
                       reader_.ReadEncoded(converted.index, item.chunk.sizes));
  const MutexLock lock(mutex_);
  encoded_.push_back(std::move(bytes));
  return WritePayload(std::string_view(encoded_.back()));
}

StatusOr<WritePayload> ConvertSource::ResolvePiece(
    const WriteItem& item, const ConvertedItem& converted) {
  const SourceTensor& tensor = plan_.tensors[converted.tensor];
  DCP_ASSIGN_OR_RETURN(AlignedBuffer buffer,
                       AlignedBuffer::Allocate(static_cast<size_t>(
                           std::max<int64_t>(item.nbytes, 1))));
  std::byte* const memory = buffer.memory().data();
  if (item.nbytes > 0) {
    const PieceRead read{
        .tensor = &tensor, .box = item.chunk, .memory = memory};
    DCP_RETURN_IF_ERROR(reader_.Read({&read, 1}));
  }
  const MutexLock lock(mutex_);
  pieces_.push_back(std::move(buffer));
  nbytes_resolved_ += item.nbytes;
  return WritePayload(ContiguousView(memory, tensor.dtype, item.chunk.sizes));
}

WriteStream* ConvertSource::StreamOf(const WriteItem& item) {
  return ConvertedOf(item).kind == ConvertedKind::kStreamed ? this : nullptr;
}

int64_t ConvertSource::max_resolved_nbytes() const {
  return kMaxResolvedNbytes;
}

void ConvertSource::Release() {
  const MutexLock lock(mutex_);
  encoded_.clear();
  pieces_.clear();
}

Status ConvertSource::Proceed() {
  DCP_RETURN_IF_ERROR(transport_.Check());
  if (!options_.progress) return absl::OkStatus();
  ConvertProgress now{.nbytes_done = ahead_.nbytes_taken(),
                      .nbytes_total = plan_.nbytes};
  {
    const MutexLock lock(mutex_);
    now.nbytes_done += nbytes_resolved_;
  }
  return options_.progress(now);
}

Status ConvertSource::Read(const WriteItem& item, int64_t byte_begin,
                           std::span<std::byte> out) {
  return ahead_.Read(ConvertedOf(item).tensor, byte_begin, out);
}

}  // namespace dcp
