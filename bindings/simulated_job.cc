#include "simulated_job.h"

namespace dcp {
namespace {

StatusOr<ParallelDegrees> ToDegrees(
    const std::map<std::string, int64_t>& given) {
  ParallelDegrees degrees;
  const std::map<std::string, int64_t*> fields = {
      {"dp_replicate", &degrees.dp_replicate},
      {"dp", &degrees.dp},
      {"tp", &degrees.tp},
      {"pp", &degrees.pp},
      {"ep", &degrees.ep}};
  for (const auto& [name, degree] : given) {
    const auto field = fields.find(name);
    if (field == fields.end()) {
      return InvalidArgument("a mesh has no " + name);
    }
    *field->second = degree;
  }
  return degrees;
}

StatusOr<PlanningMode> ToMode(const std::string& name) {
  if (name == "closed-form") return PlanningMode::kClosedForm;
  if (name == "gather") return PlanningMode::kGather;
  return InvalidArgument("there is no planning mode " + name);
}

}  // namespace

StatusOr<PlanSimulationOptions> ToPlanOptions(
    const std::string& model, const std::map<std::string, int64_t>& mesh,
    const std::string& mode, int64_t max_items) {
  PlanSimulationOptions options{.model = model, .max_items = max_items};
  DCP_ASSIGN_OR_RETURN(options.degrees, ToDegrees(mesh));
  DCP_ASSIGN_OR_RETURN(options.mode, ToMode(mode));
  return options;
}

}  // namespace dcp
