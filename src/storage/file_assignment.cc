#include "storage/file_assignment.h"

#include <algorithm>
#include <cstddef>

namespace dcp {
namespace {

using FileItems = std::vector<const WriteItem*>;

std::vector<FileItems> DealToFiles(const FileItems& objects,
                                   const FileItems& tensors,
                                   size_t file_count) {
  std::vector<FileItems> files(file_count);
  for (size_t i = 0; i < objects.size(); ++i) {
    files[i % file_count].push_back(objects[i]);
  }
  FileItems by_size = tensors;
  std::stable_sort(by_size.begin(), by_size.end(),
                   [](const WriteItem* a, const WriteItem* b) {
                     return a->nbytes > b->nbytes;
                   });
  std::vector<int64_t> nbytes(file_count, 0);
  for (const WriteItem* item : by_size) {
    const auto smallest =
        std::min_element(nbytes.begin(), nbytes.end()) - nbytes.begin();
    files[static_cast<size_t>(smallest)].push_back(item);
    nbytes[static_cast<size_t>(smallest)] += item->nbytes;
  }
  return files;
}

}  // namespace

std::vector<FileItems> AssignToFiles(const SavePlan& plan,
                                     const FileSystemWriterOptions& options) {
  FileItems objects;
  FileItems tensors;
  for (const WriteItem& item : plan.items) {
    (item.type == WriteItemType::kByteIo ? objects : tensors).push_back(&item);
  }
  std::vector<FileItems> files;
  if (!options.single_file_per_rank) {
    for (const WriteItem& item : plan.items) files.push_back({&item});
  } else if (options.file_count <= 1) {
    files.push_back(std::move(objects));
    files[0].insert(files[0].end(), tensors.begin(), tensors.end());
  } else {
    files =
        DealToFiles(objects, tensors, static_cast<size_t>(options.file_count));
  }
  std::erase_if(files, [](const FileItems& items) { return items.empty(); });
  return files;
}

}  // namespace dcp
