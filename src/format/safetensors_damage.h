// How the readers of safetensors files and their indexes report damage.

#ifndef DCP_FORMAT_SAFETENSORS_DAMAGE_H_
#define DCP_FORMAT_SAFETENSORS_DAMAGE_H_

#include <string>
#include <string_view>

#include "base/printable.h"
#include "dcp/status.h"

namespace dcp {

/// kDataLoss "tensor <name> <what>", with the name as ErrorDetail::fqn.
inline Status TensorDamage(std::string_view name, std::string_view what) {
  return WithDetail(
      DataLoss("tensor \"" + Printable(name) + "\" " + std::string(what)),
      {.fqn = std::string(name)});
}

/// What a reader of a whole file returns for damage that it found inside:
/// "not a valid <file>: <damage> (<what to do>)". The detail stays; other
/// errors, and OK, stay as they are.
inline Status DamageOfFile(std::string_view file, const Status& damage) {
  if (damage.code() != absl::StatusCode::kDataLoss) return damage;
  const Status status = DataLoss(
      "not a valid " + std::string(file) + ": " + std::string(Message(damage)) +
      " (it may be damaged, or not completely written or copied: "
      "save it again, or fetch it again)");
  const auto detail = GetErrorDetail(damage);
  return detail ? WithDetail(status, *detail) : status;
}

}  // namespace dcp

#endif  // DCP_FORMAT_SAFETENSORS_DAMAGE_H_
