#include "plan/plan_columns_reader.h"

#include <limits>
#include <utility>

#include "base/free_memory.h"
#include "plan/item_checks.h"

namespace dcp {
namespace {

WriteItem WholeItemOf(const KeyEntry& entry) {
  return {.fqn = entry.fqn,
          .type = entry.type,
          .chunk = WholeBox(entry.global_size),
          .global_size = entry.global_size,
          .properties = entry.properties};
}

/// Whether any record of `entry` is one too many.
bool IsFaulty(const KeyEntry& entry, const KeyEntry& first) {
  const WriteItem item = WholeItemOf(entry);
  const WriteItem other = WholeItemOf(first);
  return !CheckListed({.item = item}, {.item = other}).ok();
}

bool FitsOneWord(const Dims& sizes) {
  for (const int64_t size : sizes) {
    if (size > std::numeric_limits<uint32_t>::max()) return false;
  }
  return true;
}

std::string RankName(uint32_t rank) { return "rank " + std::to_string(rank); }

}  // namespace

StatusOr<PlanColumns> PlanColumnsReader::Read() && {
  columns_.ranks_.resize(messages_.size());
  for (uint32_t rank = 0; rank < messages_.size(); ++rank) {
    DCP_RETURN_IF_ERROR(Annotate(ReadHead(rank), RankName(rank)));
  }
  Allocate();
  for (uint32_t rank = 0; rank < messages_.size(); ++rank) {
    DCP_RETURN_IF_ERROR(ReadRecords(rank));
    FreeMemory(&messages_[rank]);
  }
  return std::move(columns_);
}

Status PlanColumnsReader::ReadHead(uint32_t rank) {
  DCP_ASSIGN_OR_RETURN(const PlanMessage message,
                       SplitPlanMessage(messages_[rank]));
  DCP_ASSIGN_OR_RETURN(const size_t number, BlockNumber(message, rank));
  KnownBlock& known = known_[number];
  // Room is made for what was sent, not for what is said to come.
  const size_t item_count = known.block->entries.size();
  if (message.records.size() < item_count) {
    return DataLoss("a save plan of " + std::to_string(item_count) +
                    " items is truncated: its records have " +
                    std::to_string(message.records.size()) + " bytes");
  }
  ++known.rank_count;
  columns_.ranks_[rank].block = known.block;
  columns_.ranks_[rank].first_item = columns_.record_count_;
  columns_.record_count_ += item_count;
  return absl::OkStatus();
}

StatusOr<size_t> PlanColumnsReader::BlockNumber(const PlanMessage& message,
                                                uint32_t rank) {
  const auto found = numbers_.find(message.block_digest);
  if (found != numbers_.end()) {
    if (message.block.empty() || message.block == known_[found->second].bytes) {
      return found->second;
    }
  } else if (message.block.empty()) {
    return DataLoss(
        "a save plan names keys that came with no message of a lower rank");
  } else if (DigestOf(message.block) == message.block_digest) {
    return AddBlock(message, rank);
  }
  return DataLoss("the keys of a save plan are not those of their digest");
}

StatusOr<size_t> PlanColumnsReader::AddBlock(const PlanMessage& message,
                                             uint32_t rank) {
  KeyBlocks& entries = columns_.entries_;
  DCP_ASSIGN_OR_RETURN(KeyBlock parsed, entries.Read(message.block));
  columns_.blocks_.push_back(std::make_unique<KeyBlock>(std::move(parsed)));
  for (auto key = static_cast<uint32_t>(columns_.keys_.size());
       key < entries.key_count(); ++key) {
    columns_.keys_.push_back(
        {.first = &entries.FirstOf(key), .first_rank = rank});
  }
  for (auto entry = static_cast<uint32_t>(is_faulty_.size());
       entry < entries.size(); ++entry) {
    is_faulty_.push_back(IsFaulty(entries.EntryOf(entry),
                                  entries.FirstOf(entries.KeyOf(entry))));
  }
  known_.push_back(
      {.block = columns_.blocks_.back().get(), .bytes = message.block});
  numbers_.emplace(message.block_digest, known_.size() - 1);
  return known_.size() - 1;
}

void PlanColumnsReader::Allocate() {
  for (const KnownBlock& known : known_) {
    for (const uint32_t entry : known.block->entries) {
      columns_.keys_[columns_.entries_.KeyOf(entry)].count += known.rank_count;
    }
  }
  size_t begin = 0;
  size_t words_begin = 0;
  for (KeyColumn& key : columns_.keys_) {
    key.begin = begin;
    key.words_begin = words_begin;
    key.ndim = key.first->global_size.size();
    key.words_per_number = FitsOneWord(key.first->global_size) ? 1 : 2;
    begin += key.count;
    words_begin += key.count * key.words_per_record();
  }
  stored_.resize(columns_.keys_.size());
  columns_.refs_ = std::make_unique_for_overwrite<ItemRef[]>(begin);
  columns_.words_ = std::make_unique_for_overwrite<uint32_t[]>(words_begin);
}

Status PlanColumnsReader::ReadRecords(uint32_t rank) {
  const KeyBlock& block = columns_.BlockOf(rank);
  PlanColumns::Rank& mine = columns_.ranks_[rank];
  // It was split before.
  RecordReader reader(columns_.entries_, block,
                      SplitPlanMessage(messages_[rank])->records);
  const int64_t before = total_nbytes_;
  int64_t next_source = 0;
  for (uint32_t item = 0; item < block.entries.size(); ++item) {
    if (!reader.Next()) break;
    const ItemRef ref{.rank = rank, .item = item};
    // The sum so that no rank's load needs a check later on.
    if (is_faulty_[block.entries[item]] || !reader.is_in_bounds() ||
        reader.nbytes() < 0 ||
        __builtin_add_overflow(total_nbytes_, reader.nbytes(),
                               &total_nbytes_)) {
      return Fault(reader, ref);
    }
    if (reader.source() != next_source) {
      mine.sources.push_back({.item = item, .source = reader.source()});
    }
    // Wraps around, because a message may say anything.
    next_source =
        static_cast<int64_t>(static_cast<uint64_t>(reader.source()) + 1);
    Store(reader, columns_.entries_.KeyOf(block.entries[item]), ref);
  }
  mine.held_nbytes = total_nbytes_ - before;
  return Annotate(reader.Finish(), RankName(rank));
}

Status PlanColumnsReader::Fault(const RecordReader& reader, ItemRef ref) const {
  const WriteItem item = reader.Item();
  const uint32_t entry = columns_.BlockOf(ref.rank).entries[ref.item];
  const KeyColumn& key = columns_.keys_[columns_.entries_.KeyOf(entry)];
  const WriteItem first = WholeItemOf(*key.first);
  const ListedItem listed{.item = item, .rank = ref.rank};
  DCP_RETURN_IF_ERROR(
      CheckListed(listed, {.item = first, .rank = key.first_rank}));
  return TooManyBytes(listed);
}

void PlanColumnsReader::Store(const RecordReader& reader, uint32_t key_number,
                              ItemRef ref) {
  KeyColumn& key = columns_.keys_[key_number];
  const size_t i = stored_[key_number]++;
  columns_.refs_[key.begin + i] = ref;
  uint32_t* words =
      &columns_.words_[key.words_begin + i * key.words_per_record()];
  const bool is_wide = key.words_per_number == 2;
  for (int d = 0; d < key.ndim; ++d) {
    const Extent& extent = reader.extents()[d];
    for (const int64_t number : {extent.begin, extent.size}) {
      *words++ = static_cast<uint32_t>(number);
      if (is_wide) {
        *words++ = static_cast<uint32_t>(static_cast<uint64_t>(number) >> 32);
      }
    }
  }
  // Ranks may give an object other item sizes than the first of its key has.
  if (reader.is_plain() && !key.first->is_object()) return;
  if (key.odd_nbytes.empty()) key.odd_nbytes.assign(key.count, -1);
  key.odd_nbytes[i] = reader.nbytes();
}

}  // namespace dcp
