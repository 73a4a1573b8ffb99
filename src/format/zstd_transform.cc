#include "format/zstd_transform.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <utility>

namespace dcp {
namespace {

/// What zstd reports about `what`. Unless memory is short, it is the fault of
/// `blamed`: the data that is read, or this program.
Status ZstdError(size_t code, std::string_view what, absl::StatusCode blamed) {
  const bool is_memory =
      ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation;
  return MakeStatus(is_memory ? absl::StatusCode::kResourceExhausted : blamed,
                    std::string(what) + ": " + ZSTD_getErrorName(code));
}

ByteSink AppendTo(std::string* out) {
  return [out](std::span<const std::byte> data) {
    out->append(reinterpret_cast<const char*>(data.data()), data.size());
    return absl::OkStatus();
  };
}

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

void ZstdFrameWriter::FreeContext::operator()(ZSTD_CCtx_s* context) const {
  ZSTD_freeCCtx(context);
}

void ZstdFrameReader::FreeContext::operator()(ZSTD_DCtx_s* context) const {
  ZSTD_freeDCtx(context);
}

ZstdFrameWriter::ZstdFrameWriter(ByteSink sink)
    : context_(ZSTD_createCCtx()),
      sink_(std::move(sink)),
      buffer_(ZSTD_CStreamOutSize(), '\0') {}

StatusOr<std::unique_ptr<ZstdFrameWriter>> ZstdFrameWriter::Make(
    const ZstdWriterOptions& options, ByteSink sink) {
  if (options.level < ZSTD_minCLevel() || options.level > ZSTD_maxCLevel()) {
    return InvalidArgument("zstd has no level " +
                           std::to_string(options.level));
  }
  std::unique_ptr<ZstdFrameWriter> writer(new ZstdFrameWriter(std::move(sink)));
  ZSTD_CCtx* context = writer->context_.get();
  if (context == nullptr) {
    return MakeStatus(absl::StatusCode::kResourceExhausted,
                      "no memory for a zstd context");
  }
  const size_t code =
      ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, options.level);
  if (ZSTD_isError(code) != 0) {
    return ZstdError(code, "zstd", absl::StatusCode::kInternal);
  }
  // Fails only in a libzstd without threads, which then works without.
  ZSTD_CCtx_setParameter(context, ZSTD_c_nbWorkers, options.workers);
  return writer;
}

Status ZstdFrameWriter::Run(std::span<const std::byte> data, int directive) {
  ZSTD_inBuffer in{.src = data.data(), .size = data.size(), .pos = 0};
  bool done = false;
  while (!done) {
    ZSTD_outBuffer out{.dst = buffer_.data(), .size = buffer_.size(), .pos = 0};
    const size_t left = ZSTD_compressStream2(
        context_.get(), &out, &in, static_cast<ZSTD_EndDirective>(directive));
    if (ZSTD_isError(left) != 0) {
      return ZstdError(left, "zstd", absl::StatusCode::kInternal);
    }
    if (out.pos > 0) {
      DCP_RETURN_IF_ERROR(sink_(BytesOf(buffer_).first(out.pos)));
    }
    done = directive == ZSTD_e_end ? left == 0 : in.pos == in.size;
  }
  return absl::OkStatus();
}

Status ZstdFrameWriter::Write(std::span<const std::byte> data) {
  return data.empty() ? absl::OkStatus() : Run(data, ZSTD_e_continue);
}

Status ZstdFrameWriter::Finish() { return Run({}, ZSTD_e_end); }

ZstdFrameReader::ZstdFrameReader(int64_t max_nbytes, ByteSink sink)
    : context_(ZSTD_createDCtx()),
      sink_(std::move(sink)),
      buffer_(ZSTD_DStreamOutSize(), '\0'),
      nbytes_left_(max_nbytes) {}

Status ZstdFrameReader::Write(std::span<const std::byte> data) {
  if (context_ == nullptr) {
    return MakeStatus(absl::StatusCode::kResourceExhausted,
                      "no memory for a zstd context");
  }
  ZSTD_inBuffer in{.src = data.data(), .size = data.size(), .pos = 0};
  bool more_output = false;
  while (in.pos < in.size || more_output) {
    if (finished_) return DataLoss("zstd frame: bytes follow its end");
    ZSTD_outBuffer out{.dst = buffer_.data(), .size = buffer_.size(), .pos = 0};
    const size_t code = ZSTD_decompressStream(context_.get(), &out, &in);
    if (ZSTD_isError(code) != 0) {
      return ZstdError(code, "zstd frame", absl::StatusCode::kDataLoss);
    }
    if (static_cast<int64_t>(out.pos) > nbytes_left_) {
      return DataLoss("zstd frame: expands to more than is allowed");
    }
    nbytes_left_ -= static_cast<int64_t>(out.pos);
    if (out.pos > 0) {
      DCP_RETURN_IF_ERROR(sink_(BytesOf(buffer_).first(out.pos)));
    }
    finished_ = code == 0;
    more_output = !finished_ && out.pos == out.size;
  }
  return absl::OkStatus();
}

Status ZstdFrameReader::Finish() const {
  if (finished_) return absl::OkStatus();
  return DataLoss("zstd frame: it is cut off");
}

StatusOr<std::string> ZstdCompress(std::string_view data,
                                   const ZstdWriterOptions& options) {
  std::string frame;
  DCP_ASSIGN_OR_RETURN(std::unique_ptr<ZstdFrameWriter> writer,
                       ZstdFrameWriter::Make(options, AppendTo(&frame)));
  DCP_RETURN_IF_ERROR(writer->Write(BytesOf(data)));
  DCP_RETURN_IF_ERROR(writer->Finish());
  return frame;
}

StatusOr<std::string> ZstdDecompress(std::string_view frame,
                                     int64_t max_nbytes) {
  std::string data;
  ZstdFrameReader reader(max_nbytes, AppendTo(&data));
  DCP_RETURN_IF_ERROR(reader.Write(BytesOf(frame)));
  DCP_RETURN_IF_ERROR(reader.Finish());
  return data;
}

}  // namespace dcp
