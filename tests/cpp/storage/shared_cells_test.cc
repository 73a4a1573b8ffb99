#include "storage/shared_cells.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "plan/box_ranges.h"
#include "plan/plan_cases.h"
#include "storage/shared_division.h"

namespace dcp {
namespace {

using Bytes = std::vector<std::byte>;

/// Distinct bytes for element `position` of tensor number `tensor`.
void PutElement(size_t tensor, int64_t position, int64_t itemsize,
                std::byte* out) {
  for (int64_t i = 0; i < itemsize; ++i) {
    out[i] = static_cast<std::byte>((position * itemsize + i) * 31 +
                                    static_cast<int64_t>(tensor) * 7 +
                                    (position * itemsize + i) / 256);
  }
}

/// A state whose tensors are spread over ranks in random boxes.
struct Job {
  GlobalPlan plan;
  std::vector<std::string> fqns;

  Job(Random* random, size_t ranks, int64_t tensors) {
    plan.plans.resize(ranks);
    for (int64_t t = 0; t < tensors; ++t) AddTensor(random, ranks);
  }

  void AddTensor(Random* random, size_t ranks) {
    const DType dtype =
        random->Pick({DType::kFloat32, DType::kBFloat16, DType::kInt64,
                      DType::kBool, DType::kFloat8E4M3FN});
    Dims sizes;
    for (int64_t d = random->Between(0, 3); d > 0; --d) {
      sizes.push_back(random->OneIn(15) ? 0 : random->Between(1, 150));
    }
    const std::string fqn = "layers." + std::to_string(fqns.size()) + ".w";
    fqns.push_back(fqn);
    const std::vector<Box> boxes =
        RandomPartition(random, sizes, static_cast<int>(ranks) + 1);
    plan.metadata.Add(fqn, TensorStorageMetadata{.properties = {.dtype = dtype},
                                                 .size = sizes,
                                                 .chunks = boxes});
    for (const Box& box : boxes) {
      const auto rank = static_cast<size_t>(
          random->Between(0, static_cast<int64_t>(ranks) - 1));
      plan.plans[rank].items.push_back(TensorItem(fqn, sizes, box, dtype));
    }
  }

  size_t NumberOf(const std::string& fqn) const {
    return static_cast<size_t>(std::find(fqns.begin(), fqns.end(), fqn) -
                               fqns.begin());
  }
};

/// The elements [begin, end) of the chunk.
Bytes Elements(size_t number, const CellPart& part) {
  const int64_t itemsize = ItemSize(part.tensor->dtype);
  Bytes bytes(static_cast<size_t>(part.nbytes()));
  ForEachRunOf(part.tensor->sizes, part.chunk->box, part.begin, part.end,
               [&](const BoxRun& run) {
                 for (int64_t i = 0; i < run.count; ++i) {
                   PutElement(
                       number, run.position + i, itemsize,
                       bytes.data() + (run.in_box - part.begin + i) * itemsize);
                 }
               });
  return bytes;
}

Bytes Expected(const Job& job, const SharedLayoutFile& file) {
  Bytes bytes(static_cast<size_t>(file.nbytes()));
  std::memcpy(bytes.data(), file.head.bytes.data(), file.head.bytes.size());
  for (size_t t = 0; t < file.tensors.size(); ++t) {
    const SharedPartTensor& tensor = file.tensors[t];
    const int64_t itemsize = ItemSize(tensor.dtype);
    for (int64_t i = 0; i < Numel(tensor.sizes); ++i) {
      PutElement(job.NumberOf(file.fqns[t]), i, itemsize,
                 bytes.data() + tensor.begin + i * itemsize);
    }
  }
  return bytes;
}

/// What the ranks make of their parts, each with the messages of the others.
class Simulation {
 public:
  Simulation(const Job& job, const SharedLayout& layout)
      : job_(job), layout_(layout) {
    for (const SharedPart& part : PartsOfRanks(layout, job.plan.plans.size())) {
      parts_.push_back(ParseSharedPart(SerializeSharedPart(part)).value());
      REQUIRE(parts_.back() == part);
    }
    for (size_t rank = 0; rank < parts_.size(); ++rank) {
      messages_.push_back(MessagesOf(parts_[rank], static_cast<int>(rank)));
    }
  }

  std::vector<Bytes> Run() {
    std::vector<Bytes> files;
    for (const SharedLayoutFile& file : layout_.files) {
      files.emplace_back(static_cast<size_t>(file.nbytes()));
    }
    for (size_t rank = 0; rank < parts_.size(); ++rank) {
      for (size_t f = 0; f < files.size(); ++f) {
        WriteFile(static_cast<int>(rank), f, files[f]);
      }
    }
    return files;
  }

  /// Every message that is sent is received.
  void RequireMatched() const {
    for (size_t from = 0; from < messages_.size(); ++from) {
      for (const auto& [to, messages] : messages_[from]) {
        std::vector<int64_t> sent;
        for (const auto& parts : messages.outgoing) sent.push_back(Sum(parts));
        const auto& theirs = messages_[static_cast<size_t>(to)];
        const auto there = theirs.find(static_cast<int>(from));
        REQUIRE(sent == (there == theirs.end() ? std::vector<int64_t>()
                                               : there->second.incoming));
      }
    }
  }

 private:
  static int64_t Sum(const std::vector<CellPart>& parts) {
    int64_t nbytes = 0;
    for (const CellPart& part : parts) nbytes += part.nbytes();
    return nbytes;
  }

  void WriteFile(int rank, size_t f, Bytes& bytes) {
    const SharedPartFile& file = parts_[static_cast<size_t>(rank)].files[f];
    if (!file.head.empty()) {
      std::memcpy(bytes.data(), file.head.data(), file.head.size());
    }
    for (const OwnedExtent& extent : file.extents) {
      if (extent.owner != rank) continue;
      for (int64_t at = extent.begin; at < extent.end;) {
        const Cell cell = CellAt(f, extent, at);
        WriteCell(rank, cell, file,
                  std::span(bytes).subspan(
                      static_cast<size_t>(cell.begin),
                      static_cast<size_t>(cell.end - cell.begin)));
        at = cell.end;
      }
    }
  }

  void WriteCell(int rank, const Cell& cell, const SharedPartFile& file,
                 std::span<std::byte> out) {
    std::map<int, std::vector<CellPart>> received;
    for (const CellPart& part : PartsOf(file, cell)) {
      if (part.chunk->rank == rank) {
        PutPart(part, cell, Elements(NumberOf(part, cell.file), part), out);
      } else {
        received[part.chunk->rank].push_back(part);
      }
    }
    for (const auto& [sender, parts] : received) {
      const Bytes message = MessageOf(sender, rank, cell);
      size_t at = 0;
      for (const CellPart& part : parts) {
        const auto n = static_cast<size_t>(part.nbytes());
        REQUIRE(at + n <= message.size());
        PutPart(part, cell, std::span(message).subspan(at, n), out);
        at += n;
      }
      REQUIRE(at == message.size());
    }
  }

  Bytes MessageOf(int sender, int receiver, const Cell& cell) const {
    const size_t number =
        messages_[static_cast<size_t>(receiver)].at(sender).incoming_of.at(
            cell);
    Bytes message;
    for (const CellPart& part :
         messages_[static_cast<size_t>(sender)].at(receiver).outgoing.at(
             number)) {
      const Bytes bytes = Elements(NumberOf(part, cell.file), part);
      message.insert(message.end(), bytes.begin(), bytes.end());
    }
    return message;
  }

  /// By the place of its data in the file, and its type: empty tensors may
  /// share a place, and have no bytes.
  size_t NumberOf(const CellPart& part, size_t f) const {
    const SharedLayoutFile& file = layout_.files[f];
    for (size_t t = 0; t < file.tensors.size(); ++t) {
      if (file.tensors[t].begin == part.tensor->begin &&
          file.tensors[t].sizes == part.tensor->sizes) {
        return job_.NumberOf(file.fqns[t]);
      }
    }
    FAIL("a tensor that is not in the layout");
    return 0;
  }

  const Job& job_;
  const SharedLayout& layout_;
  std::vector<SharedPart> parts_;
  std::vector<std::map<int, CellMessages>> messages_;
};

TEST_CASE("what ranks write and send each other makes the whole files",
          "[storage][shared_layout]") {
  Random random(30);
  for (int round = 0; round < 25; ++round) {
    const auto ranks = static_cast<size_t>(random.Between(1, 6));
    const Job job(&random, ranks, random.Between(1, 10));
    CAPTURE(round, ranks);
    const auto layout = LayOutSharedFiles(
        job.plan, {.max_file_nbytes = random.Between(1, 8) << 20,
                   .one_writer_per_file = random.OneIn(4)});
    REQUIRE(layout.ok());
    Simulation simulation(job, *layout);
    simulation.RequireMatched();
    const std::vector<Bytes> files = simulation.Run();
    for (size_t f = 0; f < files.size(); ++f) {
      REQUIRE(files[f] == Expected(job, layout->files[f]));
    }
  }
}

}  // namespace
}  // namespace dcp
