#include "format/indexed_items.h"

#include <array>
#include <utility>

#include "format/possible_values.h"

namespace dcp {
namespace {

using Column = std::array<int64_t, kItemsPerBlock>;

/// The columns of a block, in the order of its bytes. Offsets and sizes, which
/// have one for each dimension, come before them.
enum PlaceColumn : uint8_t {
  kFile,
  kHasIndex,
  kIndex,
  kOffset,
  kLength,
  kColumnCount
};

template <typename ValueOf>
void PutColumnOf(std::span<const IndexedItem> items, ValueOf value_of,
                 WireWriter* out) {
  Column column;
  for (size_t i = 0; i < items.size(); ++i) column[i] = value_of(items[i]);
  PutColumn(std::span(column.data(), items.size()), out);
}

int64_t PlaceValue(PlaceColumn column, const IndexedItem& item,
                   FileNumbers* files) {
  switch (column) {
    case kFile:
      return item.place ? files->NumberOf(*item.place) : 0;
    case kHasIndex:
      return item.index ? 1 : 0;
    case kIndex:
      return item.index.value_or(0);
    case kOffset:
      return item.place ? item.place->offset : 0;
    case kLength:
      return item.place ? item.place->length : 0;
    case kColumnCount:
      break;
  }
  return 0;
}

/// Sets what the columns of places say of row `row`.
bool SetPlace(std::span<const Column, kColumnCount> columns, size_t row,
              std::span<const StorageInfo> files, IndexedItem* item) {
  if (columns[kHasIndex][row] != 0) item->index = columns[kIndex][row];
  const int64_t file = columns[kFile][row];
  if (file == 0) return true;
  if (file < 0 || file > static_cast<int64_t>(files.size())) return false;
  StorageInfo& place =
      item->place.emplace(files[static_cast<size_t>(file) - 1]);
  place.offset = columns[kOffset][row];
  place.length = columns[kLength][row];
  return IsPossiblePlace(place);
}

}  // namespace

int64_t FileNumbers::NumberOf(const StorageInfo& place) {
  WireWriter key;
  key.PutString(place.relative_path);
  key.PutVarint(place.transform_descriptors.size());
  for (const std::string& transform : place.transform_descriptors) {
    key.PutString(transform);
  }
  const auto next = static_cast<int64_t>(files_.size()) + 1;
  const auto [found, is_new] = numbers_.try_emplace(key.data(), next);
  if (is_new) files_.push_back(key.data());
  return found->second;
}

std::string FileNumbers::Serialize() const {
  WireWriter count;
  count.PutVarint(files_.size());
  std::string data = std::move(count).Take();
  for (const std::string& file : files_) data += file;
  return data;
}

StatusOr<std::vector<StorageInfo>> ParseFiles(std::string_view data,
                                              CopyBudget budget) {
  WireReader in(data, "the files of indexed metadata");
  std::vector<StorageInfo> files;
  for (size_t left = in.Count(2); in.ok() && left > 0; --left) {
    StorageInfo& file = files.emplace_back();
    file.relative_path = in.String();
    if (!budget.Take(sizeof(StorageInfo))) in.Fail();
    for (size_t more = in.Count(1); in.ok() && more > 0; --more) {
      const std::string_view transform = in.String();
      if (!budget.TakeElement(transform)) in.Fail();
      file.transform_descriptors.emplace_back(transform);
    }
  }
  DCP_RETURN_IF_ERROR(in.Finish());
  return files;
}

std::string SerializeItems(std::span<const IndexedItem> items,
                           FileNumbers* files) {
  WireWriter out;
  const int ndim = items[0].chunk.ndim();
  for (int d = 0; d < ndim; ++d) {
    PutColumnOf(
        items, [d](const IndexedItem& item) { return item.chunk.offsets[d]; },
        &out);
  }
  for (int d = 0; d < ndim; ++d) {
    PutColumnOf(
        items, [d](const IndexedItem& item) { return item.chunk.sizes[d]; },
        &out);
  }
  for (int c = 0; c < kColumnCount; ++c) {
    const auto column = static_cast<PlaceColumn>(c);
    PutColumnOf(
        items,
        [=](const IndexedItem& item) {
          return PlaceValue(column, item, files);
        },
        &out);
  }
  return std::move(out).Take();
}

Status ParseItems(std::string_view block, const Dims& size, size_t count,
                  std::span<const StorageInfo> files,
                  std::vector<IndexedItem>* items) {
  WireReader in(block, "a block of indexed metadata");
  const size_t begin = items->size();
  const Box empty = {.offsets = Dims::Filled(size.size(), 0),
                     .sizes = Dims::Filled(size.size(), 0)};
  items->resize(begin + count, IndexedItem{.chunk = empty});
  const std::span<IndexedItem> rows = std::span(*items).subspan(begin);
  std::array<Column, kColumnCount> columns;
  const auto get = [&](Column* column) {
    GetColumn(&in, std::span(column->data(), count));
  };
  for (int d = 0; d < size.size(); ++d) {
    get(columns.data());
    for (size_t i = 0; i < count; ++i) rows[i].chunk.offsets[d] = columns[0][i];
  }
  for (int d = 0; d < size.size(); ++d) {
    get(columns.data());
    for (size_t i = 0; i < count; ++i) rows[i].chunk.sizes[d] = columns[0][i];
  }
  for (Column& column : columns) get(&column);
  DCP_RETURN_IF_ERROR(in.Finish());
  for (size_t i = 0; i < count; ++i) {
    if (!IsPossibleChunk(size, rows[i].chunk) ||
        !SetPlace(columns, i, files, &rows[i])) {
      return DataLoss("indexed metadata have an impossible item: chunk " +
                      ToString(rows[i].chunk) + " of size " + ToString(size));
    }
  }
  return absl::OkStatus();
}

}  // namespace dcp
