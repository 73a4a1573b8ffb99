#include "storage/metadata_files.h"

#include "base/free_memory.h"
#include "format/metadata_serializer.h"
#include "format/place_table.h"
#include "storage/indexed_file.h"

namespace dcp {

StatusOr<MetadataFiles> MakeMetadataFiles(const Metadata& metadata,
                                          std::vector<WriteOutcome>* outcomes,
                                          size_t min_indexed_items) {
  PlaceTable places(metadata);
  for (const WriteOutcome& outcome : *outcomes) {
    for (const WriteResult& result : outcome.results) {
      places.Add(result.index, result.storage_info);
    }
  }
  places.Finish();
  for (WriteOutcome& outcome : *outcomes) FreeMemory(&outcome.results);
  MetadataFiles files;
  DCP_ASSIGN_OR_RETURN(files.pickle, SerializeMetadata(metadata, places));
  if (places.slot_count() < min_indexed_items) return files;
  DCP_ASSIGN_OR_RETURN(
      files.index, SerializeIndexedMetadata(metadata, places, files.pickle));
  return files;
}

}  // namespace dcp
