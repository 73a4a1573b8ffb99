// The disk, as pessimistic as POSIX allows:
//
// 1. Data becomes durable by a sync of the file, names by a sync of their
//    directory, and by nothing else. (Many file systems do more.)
// 2. A rename or an exchange within a directory is atomic: both of its entries
//    change or none. Between directories they change each for itself.
// 3. Until synced, any subset of the changes may be on the disk, whatever their
//    order: later ones without earlier ones, pages of one write without the
//    others, a file's new size without its data (zeros) and the reverse.
// 4. Between two changes of one entry or one byte the later wins if both are
//    there: a disk does not go back.
// 5. What cannot be reached by names from the root is lost. A directory that
//    was moved and is there under both names is put under one of them.

#include "testing/disk_model.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <stdexcept>
#include <utility>

#include "io/paths.h"

namespace dcp::testing {
namespace {

constexpr int64_t kPageNbytes = 4096;
constexpr int64_t kMaxImportNbytes = int64_t{1} << 32;

/// Tests' own mistakes end the test: there is nobody to return them to.
void MustBeOk(const Status& status) {
  if (!status.ok()) throw std::logic_error(std::string(Message(status)));
}

}  // namespace

/// Decides, change by change, what is left.
struct DiskModel::Choice {
  Choice(RebootPolicy wanted, uint64_t seed) : policy(wanted), random(seed) {
    // Also the nearly complete and the nearly empty are worth a visit.
    constexpr std::array kChances = {0.1, 0.5, 0.9};
    chance = kChances[random() % kChances.size()];
  }

  bool Keeps() {
    if (policy != RebootPolicy::kKeepRandomly) {
      return policy == RebootPolicy::kKeepAll;
    }
    return std::bernoulli_distribution(chance)(random);
  }

  const RebootPolicy policy;
  std::mt19937_64 random;
  double chance = 0;
};

DiskModel::DiskModel(FileSystem& fs) {
  Add({.is_directory = true});
  Import(fs, "/", kRoot);
}

void DiskModel::Import(FileSystem& fs, const std::string& path,
                       Inode directory) {
  auto entries = fs.List(path);
  MustBeOk(entries.status());
  for (const DirectoryEntry& entry : *entries) {
    const std::string child = JoinPath(path, entry.name);
    Node node{.is_directory = entry.kind == FileKind::kDirectory};
    if (!node.is_directory) {
      auto bytes = ReadFile(fs, child, kMaxImportNbytes, {});
      MustBeOk(bytes.status());
      node.live_bytes = *bytes;
      node.durable_bytes = *std::move(bytes);
    }
    const bool is_directory = node.is_directory;
    const Inode inode = Add(std::move(node));
    nodes_[directory].live[entry.name] = inode;
    nodes_[directory].durable[entry.name] = inode;
    if (is_directory) Import(fs, child, inode);
  }
}

DiskModel::Inode DiskModel::Add(Node node) {
  nodes_.push_back(std::move(node));
  return nodes_.size() - 1;
}

DiskModel::Inode DiskModel::Find(const std::string& path) const {
  Inode inode = kRoot;
  for (const std::string& part : NormalizedParts(path)) {
    inode = nodes_[inode].live.at(part);
  }
  return inode;
}

DiskModel::Inode DiskModel::Parent(const std::string& path,
                                   std::string* name) const {
  std::vector<std::string> parts = NormalizedParts(path);
  *name = std::move(parts.back());
  parts.pop_back();
  Inode inode = kRoot;
  for (const std::string& part : parts) inode = nodes_[inode].live.at(part);
  return inode;
}

void DiskModel::ApplyLive(NameStep step) {
  for (const NameChange& change : step) {
    Names& names = nodes_[change.directory].live;
    if (change.inode) {
      names[change.name] = *change.inode;
    } else {
      names.erase(change.name);
    }
  }
  pending_names_.push_back(std::move(step));
}

void DiskModel::ApplyBoth(NameChange one, NameChange other) {
  if (one.directory == other.directory) {
    ApplyLive({std::move(one), std::move(other)});
  } else {
    ApplyLive({std::move(one)});
    ApplyLive({std::move(other)});
  }
}

DiskModel::Inode DiskModel::Create(const std::string& path) {
  std::string name;
  const Inode directory = Parent(path, &name);
  const Inode inode = Add({});
  ApplyLive({{.directory = directory, .name = name, .inode = inode}});
  return inode;
}

void DiskModel::MakeDirectories(const std::string& path) {
  Inode inode = kRoot;
  for (const std::string& part : NormalizedParts(path)) {
    if (!nodes_[inode].live.contains(part)) {
      const Inode child = Add({.is_directory = true});
      ApplyLive({{.directory = inode, .name = part, .inode = child}});
    }
    inode = nodes_[inode].live.at(part);
  }
}

void DiskModel::Rename(const std::string& from, const std::string& to) {
  std::string from_name;
  std::string to_name;
  const Inode from_directory = Parent(from, &from_name);
  const Inode to_directory = Parent(to, &to_name);
  if (from_directory == to_directory && from_name == to_name) return;
  NameChange added{
      .directory = to_directory, .name = to_name, .inode = Find(from)};
  NameChange removed{.directory = from_directory, .name = from_name};
  ApplyBoth(std::move(added), std::move(removed));
}

void DiskModel::Exchange(const std::string& a, const std::string& b) {
  std::string a_name;
  std::string b_name;
  const Inode a_directory = Parent(a, &a_name);
  const Inode b_directory = Parent(b, &b_name);
  NameChange one{.directory = a_directory, .name = a_name, .inode = Find(b)};
  NameChange other{.directory = b_directory, .name = b_name, .inode = Find(a)};
  ApplyBoth(std::move(one), std::move(other));
}

void DiskModel::Link(const std::string& from, const std::string& to) {
  std::string name;
  const Inode directory = Parent(to, &name);
  ApplyLive({{.directory = directory, .name = name, .inode = Find(from)}});
}

void DiskModel::Remove(const std::string& path) {
  std::string name;
  const Inode directory = Parent(path, &name);
  ApplyLive({{.directory = directory, .name = name}});
}

void DiskModel::SyncDirectory(const std::string& path) {
  const Inode directory = Find(path);
  nodes_[directory].durable = nodes_[directory].live;
  std::erase_if(pending_names_, [&](const NameStep& step) {
    return step.front().directory == directory;
  });
}

void DiskModel::Write(Inode inode, int64_t byte_offset, std::string bytes) {
  Change change{.byte_offset = byte_offset, .bytes = std::move(bytes)};
  Apply(change, &nodes_[inode].live_bytes);
  nodes_[inode].pending.push_back(std::move(change));
}

void DiskModel::Truncate(Inode inode, int64_t nbytes) {
  nodes_[inode].live_bytes.resize(static_cast<size_t>(nbytes));
  nodes_[inode].pending.push_back({.nbytes = nbytes});
}

void DiskModel::Apply(const Change& change, std::string* bytes) {
  if (change.nbytes) {
    bytes->resize(static_cast<size_t>(*change.nbytes));
    return;
  }
  const auto offset = static_cast<size_t>(change.byte_offset);
  bytes->resize(std::max(bytes->size(), offset + change.bytes.size()));
  bytes->replace(offset, change.bytes.size(), change.bytes);
}

void DiskModel::Sync(Inode inode) {
  Node& node = nodes_[inode];
  for (const Change& change : node.pending) {
    Apply(change, &node.durable_bytes);
  }
  node.pending.clear();
}

void DiskModel::LoseUnsynced(Inode inode) { nodes_[inode].pending.clear(); }

std::string DiskModel::BytesAfter(const Node& node, Choice& choice) const {
  if (choice.policy == RebootPolicy::kKeepAll) return node.live_bytes;
  std::string bytes = node.durable_bytes;
  for (const Change& change : node.pending) {
    if (change.nbytes) {
      if (choice.Keeps()) Apply(change, &bytes);
      continue;
    }
    const auto total = static_cast<int64_t>(change.bytes.size());
    for (int64_t at = 0; at < total;) {
      const int64_t offset = change.byte_offset + at;
      const int64_t n =
          std::min(total - at, kPageNbytes - offset % kPageNbytes);
      if (choice.Keeps()) {
        Apply({.byte_offset = offset,
               .bytes = change.bytes.substr(static_cast<size_t>(at),
                                            static_cast<size_t>(n))},
              &bytes);
      }
      at += n;
    }
  }
  // The size is written apart from the data.
  if (choice.policy == RebootPolicy::kKeepRandomly && !node.pending.empty()) {
    const uint64_t size_choice = choice.random() % 4;
    if (size_choice == 0) bytes.resize(node.live_bytes.size());
    if (size_choice == 1) bytes.resize(node.durable_bytes.size());
  }
  return bytes;
}

std::vector<DiskModel::Names> DiskModel::NamesAfter(Choice& choice) const {
  std::vector<Names> names;
  names.reserve(nodes_.size());
  for (const Node& node : nodes_) names.push_back(node.durable);
  for (const NameStep& step : pending_names_) {
    if (!choice.Keeps()) continue;
    for (const NameChange& change : step) {
      if (change.inode) {
        names[change.directory][change.name] = *change.inode;
      } else {
        names[change.directory].erase(change.name);
      }
    }
  }
  return names;
}

std::shared_ptr<FileSystem> DiskModel::AfterReboot(RebootPolicy policy,
                                                   uint64_t seed) const {
  Choice choice(policy, seed);
  const std::vector<Names> names = NamesAfter(choice);
  std::map<Inode, std::string> contents;  // one for all names of a file
  std::set<Inode> made;
  auto fs = MakeMemoryFileSystem();
  const std::function<void(Inode, const std::string&)> fill =
      [&](Inode directory, const std::string& path) {
        for (const auto& [name, inode] : names[directory]) {
          const Node& node = nodes_[inode];
          const std::string child = JoinPath(path, name);
          if (node.is_directory) {
            if (!made.insert(inode).second) continue;
            MustBeOk(fs->MakeDirectories(child));
            fill(inode, child);
            continue;
          }
          if (!contents.contains(inode)) {
            contents[inode] = BytesAfter(node, choice);
          }
          MustBeOk(WriteFile(*fs, child, contents[inode], SyncMode::kNone));
        }
      };
  fill(kRoot, "/");
  return fs;
}

}  // namespace dcp::testing
