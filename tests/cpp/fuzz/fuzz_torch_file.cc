// Files of torch.save: what is accepted lies within the file, and its objects
// are archives that can be pickled again.

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/memory_item_source.h"
#include "format/object_item.h"
#include "format/state_pickle.h"
#include "format/torch_file_contents.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/golden_seeds.h"

namespace dcp {

std::vector<std::string> FuzzSeeds() {
  std::vector<std::string> seeds = ItemSeeds(ItemKind::kObject);
  const std::vector<std::string> tensors = ItemSeeds(ItemKind::kTensor);
  // A state dict with each of the objects, and a tensor.
  const size_t count = std::min<size_t>(seeds.size(), 8);
  for (size_t i = 0; i < count; ++i) {
    NestedState state;
    state.Add("a.o", {"a", "o"}, 0).IgnoreError();
    state.Add("a.l.1", {"a", "l", int64_t{1}}, 1).IgnoreError();
    const std::string object = seeds[i];
    const std::vector<StateLeaf> leaves = {
        {.fqn = "a.o", .value = std::string_view(object)},
        {.fqn = "a.l.1", .value = TensorItemSpec{.sizes = {2, 3}}}};
    const auto pickled = RenderStatePickle(state, leaves);
    if (!pickled.ok()) continue;
    std::vector<std::string> storages;
    for (const StateRecord& record : pickled->records) {
      storages.emplace_back(static_cast<size_t>(record.nbytes), 'x');
    }
    seeds.push_back(EncodePickleItem(pickled->pickle, storages));
  }
  seeds.insert(seeds.end(), tensors.begin(), tensors.end());
  return seeds;
}
std::vector<std::string> FuzzDictionary() { return ZipDictionary(); }

}  // namespace dcp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  dcp::MemoryItemSource source(std::as_bytes(std::span(data, size)));
  const auto length = static_cast<int64_t>(size);
  const auto contents = dcp::ReadTorchFile(source, length);
  if (!contents.ok()) return 0;
  for (const auto& [key, storage] : contents->storages) {
    dcp::Require(storage.offset >= 0 && storage.nbytes >= 0 &&
                     storage.nbytes <= length - storage.offset,
                 "a storage lies within the file");
  }
  dcp::NestedState state;
  std::vector<dcp::StateLeaf> leaves;
  for (const dcp::TorchFileObject& object : contents->objects) {
    if (state.Add(object.fqn, object.path, leaves.size()).ok()) {
      leaves.push_back(
          {.fqn = object.fqn, .value = std::string_view(object.item)});
    }
  }
  dcp::Require(dcp::RenderStatePickle(state, leaves).ok(),
               "what was read can be pickled");
  return 0;
}
