#include "format/pickle_reader.h"

#include "format/pickle_machine.h"

namespace dcp {

StatusOr<PickleGraph> ReadPickle(std::string_view data,
                                 const PickleOptions& options) {
  if (data.size() > options.max_nbytes) {
    return DataLoss("pickle of " + std::to_string(data.size()) +
                    " bytes: more than the " +
                    std::to_string(options.max_nbytes) + " that are allowed");
  }
  return PickleMachine(data, options).Run();
}

}  // namespace dcp
