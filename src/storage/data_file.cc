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

void DataFile::AddItem(const WriteItem& item, const SidecarItem& placed) {
  end_ = placed.offset + placed.length;
  items_.push_back(&item);
  places_.push_back(placed);
}

Status DataFile::Finish(SyncMode sync) {
  if (may_be_padded_) DCP_RETURN_IF_ERROR(file_->Truncate(end_));
  if (sync == SyncMode::kSync) DCP_RETURN_IF_ERROR(file_->Sync());
  return file_->Close();
}

void DataFile::TakeResults(std::vector<WriteResult>* results,
                           SidecarFile* record) {
  for (size_t i = 0; i < items_.size(); ++i) {
    results->push_back(
        {.index = items_[i]->index(),
         .size_in_bytes = places_[i].length,
         .storage_info = {.relative_path = name_,
                          .offset = places_[i].offset,
                          .length = places_[i].length,
                          .transform_descriptors = transforms_}});
  }
  record->name = name_;
  record->nbytes = end_;
  record->block_crcs = checksums_.Finish(end_);
  record->items = std::move(places_);
}

}  // namespace dcp
