// Pickles with everything that ReadPickle can be asked to allow.

#include <string_view>

#include "format/pickle_reader.h"
#include "format/tensor_pickle.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds = MetadataSeeds();
  for (const DTypeInfo& info : AllDTypes()) {
    seeds.push_back(
        RenderTensorPickle({.dtype = info.dtype, .sizes = {2, 3, 4, 5}}));
  }
  return seeds;
}
std::vector<std::string> FuzzDictionary() { return PickleDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view pickle(reinterpret_cast<const char*>(data), size);
  const auto graph =
      dcp::ReadPickle(pickle, {.persistent_ids = dcp::PersistentIds::kAccept});
  if (graph.ok()) {
    dcp::Require(graph->root() < graph->size(), "the root is a node");
    (void)dcp::DescribePickle(*graph, graph->root());
  }
  (void)dcp::ParseTensorPickle(pickle);
  return 0;
}
