#include "device/stand_in.h"

#include <dlfcn.h>

#include <catch2/catch.hpp>
#include <span>

namespace dcp {

StandInState& Driver(const char* file) {
  void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  REQUIRE(library != nullptr);
  const auto function =
      reinterpret_cast<StandInStateFunction>(dlsym(library, "stand_in_state"));
  REQUIRE(function != nullptr);
  *function() = StandInState();
  return *function();
}

Tensors::Tensors(const std::vector<size_t>& sizes) {
  size_t offset = 0;
  for (size_t nbytes : sizes) {
    memory.emplace_back(nbytes, static_cast<char>('a' + memory.size() % 23));
    copies.push_back({.offset = offset, .nbytes = nbytes});
    offset += (nbytes + 63) / 64 * 64;
  }
  // Not before: what is short lies in its string, which moves.
  for (size_t i = 0; i < copies.size(); ++i) {
    copies[i].device_data = memory[i].data();
  }
  host.resize(offset);
}

CopyBatch Tensors::Batch(bool is_pinned) {
  return {.host = std::as_writable_bytes(std::span(host)),
          .is_pinned = is_pinned,
          .copies = copies};
}

bool Tensors::AreCopied() const {
  for (size_t i = 0; i < copies.size(); ++i) {
    if (host.compare(copies[i].offset, copies[i].nbytes, memory[i]) != 0) {
      return false;
    }
  }
  return true;
}

Status CopyAll(DeviceCopier& copier, const CopyBatch& batch) {
  DCP_RETURN_IF_ERROR(copier.OrderAfter(kStream));
  DCP_ASSIGN_OR_RETURN(const uint64_t number, copier.Enqueue(batch));
  return copier.Wait(number);
}

}  // namespace dcp
