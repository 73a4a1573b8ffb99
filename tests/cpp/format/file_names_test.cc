#include "format/file_names.h"

#include <catch2/catch.hpp>
#include <string>

namespace dcp {
namespace {

TEST_CASE("data file names are formatted and parsed", "[names]") {
  for (const DataFileName& name :
       {DataFileName{}, DataFileName{.rank = 3, .index = 12},
        DataFileName{.rank = 99999, .index = int64_t{1} << 40}}) {
    CHECK(ParseDataFileName(FormatDataFileName(name)) == name);
  }
  CHECK(FormatDataFileName({.rank = 3, .index = 12}) == "__3_12.distcp");
}

TEST_CASE("names that dcp would not give are none of its", "[names]") {
  const std::string name = GENERATE(
      "", "__", "__0_0", "__0_0.distcp ", "_0_0.distcp", "__0.distcp",
      "__0_.distcp", "___0.distcp", "__-1_0.distcp", "__+1_0.distcp",
      "__01_0.distcp", "__0_00.distcp", "__0_0_0.distcp", "__a_0.distcp",
      "__0_0.distcp/x", "../__0_0.distcp", "__0_99999999999999999999.distcp",
      "__distcp", "__.distcp", "__0_distcp",
      // There would be no next one.
      "__0_9223372036854775807.distcp");
  CHECK_FALSE(ParseDataFileName(name).has_value());
}

TEST_CASE("metadata names of single ranks are formatted and parsed",
          "[names]") {
  CHECK(RankMetadataFileName(7) == "__7.metadata");
  CHECK(ParseRankMetadataFileName("__7.metadata") == 7);
  for (const std::string name :
       {".metadata", "__.metadata", "__07.metadata", "__7.metadata.tmp"}) {
    CHECK_FALSE(ParseRankMetadataFileName(name).has_value());
  }
}

TEST_CASE("directories of steps are told from others", "[names]") {
  CHECK(ParseStepDirectoryName("step-0") == 0);
  CHECK(ParseStepDirectoryName("step-00120") == 120);
  for (const std::string name :
       {"", "step", "step-", "step--1", "step-1x", "xstep-1", "step- 1",
        "step-99999999999999999999"}) {
    CHECK_FALSE(ParseStepDirectoryName(name).has_value());
  }
}

TEST_CASE("save ids of dcp are told from others", "[names]") {
  CHECK(IsDcpcppSaveId("dcpcpp-0"));
  CHECK(IsDcpcppSaveId("dcpcpp-0123456789abcdef0123456789abcdef"));
  for (const std::string id :
       {"", "dcpcpp-", "dcpcpp-xyz", "dcpcpp-AB", "dcpcpp-1/2",
        "2caff8dd-0000-0000-0000-000000000000"}) {
    CHECK_FALSE(IsDcpcppSaveId(id));
  }
  CHECK_FALSE(IsDcpcppSaveId("dcpcpp-" + std::string(65, 'a')));
}

TEST_CASE("a sidecar's name is its save id behind a dot", "[names]") {
  CHECK(SidecarName("dcpcpp-ab12") == ".dcpcpp-ab12");
  CHECK(IsSidecarName(".dcpcpp-ab12"));
  CHECK_FALSE(IsSidecarName("dcpcpp-ab12"));
  CHECK_FALSE(IsSidecarName(".dcpcpp-"));
  CHECK_FALSE(IsSidecarName(".dcpcpp-ab12.tmp"));
  CHECK_FALSE(IsSidecarName(".metadata"));
  CHECK(IndexedMetadataName("dcpcpp-ab12") == ".dcpcpp-ab12.index");
  CHECK(IsIndexedMetadataName(".dcpcpp-ab12.index"));
  for (const std::string name :
       {".dcpcpp-ab12", ".dcpcpp-.index", "dcpcpp-ab12.index", ".index",
        ".dcpcpp-ab12.index.tmp", ".dcpcpp-xyz.index"}) {
    CHECK_FALSE(IsIndexedMetadataName(name));
  }
  CHECK_FALSE(IsTemporaryName(".dcpcpp-ab12.index"));
  CHECK_FALSE(IsSidecarName(".dcpcpp-ab12.index"));
}

TEST_CASE("files of a save that is at work are told from others", "[names]") {
  CHECK(TemporaryMetadataName("dcpcpp-ab12") == ".dcpcpp-ab12.tmp");
  CHECK(TemporaryLeaseName("dcpcpp-ab12") == ".dcpcpp-ab12.lease");
  CHECK(IsTemporaryName(".dcpcpp-ab12.tmp"));
  CHECK(IsTemporaryName(".dcpcpp-ab12.lease"));
  for (const std::string name : {".dcpcpp-ab12", ".tmp", ".dcpcpp-.tmp",
                                 ".dcpcpp.lease", ".dcpcpp-ab12.tmp.tmp"}) {
    CHECK_FALSE(IsTemporaryName(name));
  }
  CHECK(RecordName("dcpcpp-ab12", "3-1") == ".dcpcpp-ab12.3-1.record");
  CHECK(IsTemporaryName(".dcpcpp-ab12.3-1.record"));
  for (const std::string name :
       {".dcpcpp-ab12.record", ".dcpcpp-ab12..record", ".dcpcpp-.3.record",
        ".dcpcpp-ab12.3.1.record", "dcpcpp-ab12.3.record"}) {
    CHECK_FALSE(IsTemporaryName(name));
  }
  CHECK(TemporaryShardName("dcpcpp-ab12", 3) == ".dcpcpp-ab12.3.shard");
  CHECK(ReplacedListName("dcpcpp-ab12") == ".dcpcpp-ab12.replaced");
  CHECK(IsTemporaryName(".dcpcpp-ab12.3.shard"));
  CHECK(IsTemporaryName(".dcpcpp-ab12.replaced"));
  CHECK(ReplacedListSaveIdOf(".dcpcpp-ab12.replaced") == "dcpcpp-ab12");
  CHECK(TemporaryMetadataSaveIdOf(".dcpcpp-ab12.tmp") == "dcpcpp-ab12");
  for (const std::string name :
       {".dcpcpp-ab12.shard", ".dcpcpp-ab12.03.shard", ".dcpcpp-.3.shard",
        ".dcpcpp-ab12.-3.shard", ".dcpcpp-ab12.3.shard.x", ".shard",
        ".replaced", "dcpcpp-ab12.replaced"}) {
    CHECK_FALSE(IsTemporaryName(name));
    CHECK_FALSE(ReplacedListSaveIdOf(name));
  }
  CHECK(LockFileName(std::nullopt) == ".dcpcpp.lock");
  CHECK(LockFileName(7) == ".dcpcpp.7.lock");
  CHECK(IsRankLockFileName(LockFileName(0)));
  for (const std::string name :
       {".dcpcpp.lock", ".dcpcpp..lock", ".dcpcpp.07.lock", ".dcpcpp.x.lock",
        ".dcpcpp.7.lease", "dcpcpp.7.lock", ".dcpcpp.7.lock.x"}) {
    CHECK_FALSE(IsRankLockFileName(name));
  }
  CHECK(LeaseFileName(std::nullopt) == ".dcpcpp.lease");
}

TEST_CASE("a directory's siblings are told from others", "[names]") {
  CHECK(SiblingDirectoryName("ckpt", "dcpcpp-ab") == ".ckpt.dcpcpp-ab");
  CHECK(SiblingSaveIdOf(".ckpt.dcpcpp-ab", "ckpt") == "dcpcpp-ab");
  CHECK(SiblingSaveIdOf(".a.dcpcpp-1.dcpcpp-2", "a.dcpcpp-1") == "dcpcpp-2");
  for (const std::string name :
       {".ckpt.dcpcpp-", ".ckpt.dcpcpp-xy", "ckpt.dcpcpp-ab",
        ".ckpt2.dcpcpp-ab", ".ckpt.dcpcpp-1.dcpcpp-2", ".dcpcpp-ab",
        ".ckpt.dcpcpp-ab.tmp"}) {
    CHECK_FALSE(SiblingSaveIdOf(name, "ckpt"));
  }
}

TEST_CASE("records of one session are told from those of others", "[names]") {
  CHECK(RecordTagOf(".dcpcpp-ab.alive-7.record", "dcpcpp-ab") == "alive-7");
  CHECK_FALSE(RecordTagOf(".dcpcpp-ab.alive-7.record", "dcpcpp-a"));
  CHECK_FALSE(RecordTagOf(".dcpcpp-ab.alive-7.record", ""));
  CHECK_FALSE(RecordTagOf(".dcpcpp-ab.tmp", "dcpcpp-ab"));
}

}  // namespace
}  // namespace dcp
