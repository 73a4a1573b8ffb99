#include "testing/disk_model.h"

#include <catch2/catch.hpp>
#include <set>

namespace dcp::testing {
namespace {

/// The names and contents of a directory of files, as text.
std::string Show(FileSystem& fs, const std::string& directory = "/") {
  std::string text;
  const auto entries = fs.List(directory);
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = JoinPath(directory, entry.name);
    text += entry.name;
    text += entry.kind == FileKind::kDirectory
                ? "{" + Show(fs, path) + "}"
                : "=" + ReadFile(fs, path, 1 << 20, {}).value() + " ";
  }
  return text;
}

/// Every outcome that 300 random reboots give.
std::set<std::string> Outcomes(const DiskModel& disk) {
  std::set<std::string> outcomes;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    outcomes.insert(Show(*disk.AfterReboot(RebootPolicy::kKeepRandomly, seed)));
  }
  return outcomes;
}

std::string Dropped(const DiskModel& disk) {
  return Show(*disk.AfterReboot(RebootPolicy::kDropUnsynced, 0));
}
std::string Kept(const DiskModel& disk) {
  return Show(*disk.AfterReboot(RebootPolicy::kKeepAll, 0));
}

TEST_CASE("what is there at first is durable", "[disk_model]") {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(fs->MakeDirectories("/d/e").ok());
  REQUIRE(WriteFile(*fs, "/d/f", "old", SyncMode::kNone).ok());
  const DiskModel disk(*fs);
  CHECK(Dropped(disk) == "d{e{}f=old }");
  CHECK(Outcomes(disk) == std::set<std::string>{"d{e{}f=old }"});
}

TEST_CASE("a file survives when it and its name were synced", "[disk_model]") {
  DiskModel disk(*MakeMemoryFileSystem());
  const auto file = disk.Create("/f");
  disk.Write(file, 0, "data");
  CHECK(Dropped(disk).empty());
  CHECK(Kept(disk) == "f=data ");
  SECTION("data without name") {
    disk.Sync(file);
    CHECK(Dropped(disk).empty());
    CHECK(Outcomes(disk) == std::set<std::string>{"", "f=data "});
  }
  SECTION("name without data") {
    disk.SyncDirectory("/");
    CHECK(Dropped(disk) == "f= ");
    const auto outcomes = Outcomes(disk);
    CHECK(outcomes.contains("f= "));
    CHECK(outcomes.contains("f=data "));
    CHECK(outcomes.contains("f=" + std::string(4, '\0') + " "));
  }
  SECTION("both") {
    disk.Sync(file);
    disk.SyncDirectory("/");
    CHECK(Outcomes(disk) == std::set<std::string>{"f=data "});
    disk.Write(file, 2, "TAIL");
    CHECK(Dropped(disk) == "f=data ");
    CHECK(Kept(disk) == "f=daTAIL ");
  }
}

TEST_CASE("an unsynced rename leaves the old or the new, never neither",
          "[disk_model]") {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(WriteFile(*fs, "/new", "new", SyncMode::kNone).ok());
  REQUIRE(WriteFile(*fs, "/old", "old", SyncMode::kNone).ok());
  DiskModel disk(*fs);
  disk.Rename("/new", "/old");
  CHECK(Dropped(disk) == "new=new old=old ");
  CHECK(Kept(disk) == "old=new ");
  CHECK(Outcomes(disk) ==
        std::set<std::string>{"new=new old=old ", "old=new "});
  disk.SyncDirectory("/");
  CHECK(Dropped(disk) == "old=new ");
}

TEST_CASE("a rename between directories may be there by halves",
          "[disk_model]") {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(fs->MakeDirectories("/a").ok());
  REQUIRE(fs->MakeDirectories("/b").ok());
  REQUIRE(WriteFile(*fs, "/a/f", "x", SyncMode::kNone).ok());
  DiskModel disk(*fs);
  disk.Rename("/a/f", "/b/f");
  CHECK(Outcomes(disk) == std::set<std::string>{"a{f=x }b{}", "a{}b{f=x }",
                                                "a{f=x }b{f=x }", "a{}b{}"});
  disk.SyncDirectory("/b");
  CHECK(Outcomes(disk) ==
        std::set<std::string>{"a{}b{f=x }", "a{f=x }b{f=x }"});
}

TEST_CASE("removals and directories are names too", "[disk_model]") {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(WriteFile(*fs, "/f", "x", SyncMode::kNone).ok());
  DiskModel disk(*fs);
  disk.Remove("/f");
  CHECK(Dropped(disk) == "f=x ");
  CHECK(Kept(disk).empty());
  disk.MakeDirectories("/d/e");
  disk.SyncDirectory("/d");
  CHECK(Dropped(disk) == "f=x ");
  disk.SyncDirectory("/");
  CHECK(Dropped(disk) == "d{e{}}");
}

TEST_CASE("pages of one write are kept each for itself", "[disk_model]") {
  DiskModel disk(*MakeMemoryFileSystem());
  const auto file = disk.Create("/f");
  disk.Truncate(file, 8192);
  disk.Sync(file);
  disk.SyncDirectory("/");
  disk.Write(file, 0, std::string(8192, 'x'));
  std::set<std::string> pages;
  for (const std::string& outcome : Outcomes(disk)) {
    pages.insert({outcome[2], outcome[2 + 4096]});
  }
  const std::string none(1, '\0');
  CHECK(pages ==
        std::set<std::string>{none + none, none + "x", "x" + none, "xx"});
}

TEST_CASE("what was overwritten and synced does not come back",
          "[disk_model]") {
  DiskModel disk(*MakeMemoryFileSystem());
  const auto file = disk.Create("/f");
  disk.SyncDirectory("/");
  disk.Write(file, 0, "old");
  disk.Sync(file);
  disk.Write(file, 0, "new");
  disk.Sync(file);
  CHECK(Outcomes(disk) == std::set<std::string>{"f=new "});
}

TEST_CASE("what a failed sync lost no later sync brings back", "[disk_model]") {
  DiskModel disk(*MakeMemoryFileSystem());
  const auto file = disk.Create("/f");
  disk.SyncDirectory("/");
  disk.Write(file, 0, "lost");
  disk.LoseUnsynced(file);
  disk.Write(file, 4, "kept");
  disk.Sync(file);
  CHECK(Dropped(disk) == "f=" + std::string(4, '\0') + "kept ");
  CHECK(Kept(disk) == "f=lostkept ");
}

TEST_CASE("an unsynced exchange of directories happened or not, never half",
          "[disk_model]") {
  auto fs = MakeMemoryFileSystem();
  for (const char* name : {"/a", "/b"}) {
    REQUIRE(fs->MakeDirectories(name).ok());
    REQUIRE(WriteFile(*fs, std::string(name) + "/f", name + 1, SyncMode::kNone)
                .ok());
  }
  DiskModel disk(*fs);
  disk.Exchange("/a", "/b");
  CHECK(Dropped(disk) == "a{f=a }b{f=b }");
  CHECK(Kept(disk) == "a{f=b }b{f=a }");
  CHECK(Outcomes(disk).size() == 2);
  disk.SyncDirectory("/");
  CHECK(Dropped(disk) == "a{f=b }b{f=a }");
}

TEST_CASE("a second name of a file is durable with its own directory",
          "[disk_model]") {
  auto fs = MakeMemoryFileSystem();
  REQUIRE(fs->MakeDirectories("/d").ok());
  REQUIRE(WriteFile(*fs, "/f", "x", SyncMode::kNone).ok());
  DiskModel disk(*fs);
  disk.Link("/f", "/d/g");
  CHECK(Dropped(disk) == "d{}f=x ");
  disk.SyncDirectory("/d");
  CHECK(Dropped(disk) == "d{g=x }f=x ");
  disk.Remove("/d/g");
  disk.Remove("/d");
  CHECK(Kept(disk) == "f=x ");
}

TEST_CASE("the same seed gives the same disk", "[disk_model]") {
  DiskModel disk(*MakeMemoryFileSystem());
  for (int i = 0; i < 20; ++i) {
    disk.Write(disk.Create("/" + std::to_string(i)), 0, "x");
  }
  const auto show = [&](uint64_t seed) {
    return Show(*disk.AfterReboot(RebootPolicy::kKeepRandomly, seed));
  };
  CHECK(show(1) == show(1));
  CHECK(show(1) != show(2));
}

}  // namespace
}  // namespace dcp::testing
