#include "storage/data_file.h"

#include <utility>

namespace dcp {

StatusOr<std::unique_ptr<DataFile>> DataFile::Create(
    WatchedFileSystem& file_system, const std::string& directory,
    std::string name, DirectIo direct_io) {
  DCP_ASSIGN_OR_RETURN(
      auto file, file_system.OpenWatched(
                     JoinPath(directory, name),
                     {.mode = OpenMode::kCreateNew, .direct_io = direct_io}));
  return std::unique_ptr<DataFile>(
      new DataFile(std::move(name), std::move(file)));
}

void DataFile::AddItem(const WriteItem& item, const SidecarItem& placed,
                       std::vector<std::string> transforms) {
  end_ = placed.offset + placed.length;
  items_.push_back(placed);
  results_.push_back(
      {.index = item.index(),
       .size_in_bytes = placed.length,
       .storage_info = {.relative_path = name_,
                        .offset = placed.offset,
                        .length = placed.length,
                        .transform_descriptors = std::move(transforms)}});
}

Status DataFile::Finish(SyncMode sync) {
  if (may_be_padded_) DCP_RETURN_IF_ERROR(file_->Truncate(end_));
  if (sync == SyncMode::kSync) DCP_RETURN_IF_ERROR(file_->Sync());
  return file_->Close();
}

void DataFile::TakeResults(std::vector<WriteResult>* results,
                           SidecarFile* record) {
  record->name = name_;
  record->nbytes = end_;
  record->block_crcs = checksums_.Finish(end_);
  record->items = std::move(items_);
  for (WriteResult& result : results_) results->push_back(std::move(result));
}

}  // namespace dcp
