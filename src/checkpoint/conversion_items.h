// What a ConversionPlan is put together from.

#ifndef DCP_CHECKPOINT_CONVERSION_ITEMS_H_
#define DCP_CHECKPOINT_CONVERSION_ITEMS_H_

#include <cstddef>
#include <string>

#include "checkpoint/conversion_plan.h"
#include "dcp/dims.h"
#include "dcp/metadata.h"
#include "dcp/status.h"

namespace dcp {

/// Adds the object `fqn` of the source, called `name` in the destination.
/// \error kDataLoss  the metadata does not say where it is stored
Status AddObject(const Metadata& metadata, const std::string& fqn,
                 const std::string& name, ConversionPlan* plan);

/// Adds `part` of the tensor that was added last, called `name` in the
/// destination.
void AddPart(const std::string& name, const Box& part, ConvertedKind kind,
             ConversionPlan* plan);

/// Adds chunk `number` of the tensor that was added last, as it is stored: of
/// tensors that only torch can cut.
/// \error kDataLoss  the metadata does not say where it is stored
Status AddEncodedChunk(const Metadata& metadata, size_t number,
                       const std::string& name, ConversionPlan* plan);

}  // namespace dcp

#endif  // DCP_CHECKPOINT_CONVERSION_ITEMS_H_
