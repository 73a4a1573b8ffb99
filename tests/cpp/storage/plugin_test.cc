#include "dcp/plugin.h"

#include <catch2/catch.hpp>
#include <memory>

#include "dcp/checkpoint.h"

namespace dcp {
namespace {

std::string TextOf(const Status& status) {
  return std::string(Message(status));
}

/// The test plug-in that was compiled with DCP_TEST_<kind> (test_plugin.cc).
std::string PluginPath(const std::string& kind) {
  return std::string(DCP_TEST_PLUGIN_DIR) + "/dcp_test_plugin_" + kind + ".so";
}

TEST_CASE("a file system of a scheme carries checkpoints", "[plugin]") {
  StorageRegistry registry;
  REQUIRE(registry.AddFileSystem("mem", MakeMemoryFileSystem()).ok());
  const auto writer =
      registry.MakeWriter({.path = "mem:///some/where"}).value();
  const auto transport = MakeSingleProcessTransport();
  const std::vector<SaveEntry> entries = {
      ObjectEntry("step", {int64_t{7}}).value()};
  REQUIRE(
      Save(std::span<const SaveEntry>(entries), *writer, *transport, {}).ok());
  const auto checkpoint =
      Checkpoint::Open(
          registry.MakeReader({.path = "mem:///some/where"}).value())
          .value();
  const std::string step = checkpoint->ReadObject("step").value();
  CHECK(DecodeObject(step).value() == ObjectValue{int64_t{7}});
  CHECK(checkpoint->metadata().storage_meta->checkpoint_id ==
        "mem:///some/where");
}

TEST_CASE("a registry says what it serves", "[plugin]") {
  StorageRegistry registry;
  const Status nothing = registry.MakeReader({.path = "x://y"}).status();
  CHECK(nothing.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(TextOf(nothing), Catch::Contains("x://y; there are: none"));
  REQUIRE(registry.AddFileSystem("mem", MakeMemoryFileSystem()).ok());
  REQUIRE(registry.AddFileSystem("a2+b-c.d", MakeMemoryFileSystem()).ok());
  CHECK(registry.schemes() == std::vector<std::string>{"a2+b-c.d", "mem"});
  CHECK_THAT(TextOf(registry.MakeWriter({.path = "/no/scheme"}).status()),
             Catch::Contains("there are: a2+b-c.d:// mem://"));
}

TEST_CASE("a registry takes each scheme once, and only schemes", "[plugin]") {
  StorageRegistry registry;
  const auto fs = MakeMemoryFileSystem();
  REQUIRE(registry.AddFileSystem("mem", fs).ok());
  CHECK(registry.AddFileSystem("mem", fs).code() ==
        absl::StatusCode::kAlreadyExists);
  for (const char* name : {"", "1a", "A", "a b", "a/", "a:", "ü"}) {
    CHECK(registry.AddFileSystem(name, fs).code() ==
          absl::StatusCode::kInvalidArgument);
  }
  CHECK(registry.AddFileSystem("x", nullptr).code() ==
        absl::StatusCode::kInvalidArgument);
  CHECK(registry.AddStorage("x", nullptr).code() ==
        absl::StatusCode::kInvalidArgument);
}

TEST_CASE("a plug-in adds its schemes, once", "[plugin]") {
  StorageRegistry registry;
  const std::vector<std::string> added = {"test1", "test2"};
  CHECK(registry.LoadPlugin(PluginPath("good")).value() == added);
  CHECK(registry.schemes() == added);
  CHECK(registry.LoadPlugin(PluginPath("good")).value() == added);
  CHECK(registry.MakeWriter({.path = "test1:///x"}).ok());
  StorageRegistry other;
  CHECK(other.LoadPlugin(PluginPath("good")).value() == added);
}

TEST_CASE("a plug-in adds all of its schemes or none", "[plugin]") {
  StorageRegistry registry;
  REQUIRE(registry.AddFileSystem("test2", MakeMemoryFileSystem()).ok());
  const Status status = registry.LoadPlugin(PluginPath("good")).status();
  CHECK(status.code() == absl::StatusCode::kAlreadyExists);
  CHECK_THAT(TextOf(status), Catch::Contains("\"test plug-in\"") &&
                                 Catch::Contains("test2://"));
  CHECK(registry.schemes() == std::vector<std::string>{"test2"});
}

TEST_CASE("a plug-in's own error is reported, and it adds nothing",
          "[plugin]") {
  StorageRegistry registry;
  const Status status = registry.LoadPlugin(PluginPath("failing")).status();
  CHECK(status.code() == absl::StatusCode::kUnimplemented);
  CHECK_THAT(TextOf(status), Catch::Contains("no such luck"));
  CHECK(registry.schemes().empty());
}

TEST_CASE("a plug-in of another build is refused before it runs", "[plugin]") {
  StorageRegistry registry;
  const Status abi = registry.LoadPlugin(PluginPath("old")).status();
  CHECK(abi.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(TextOf(abi), Catch::Contains("plug-in interface 0 of dcp"));
  const Status toolchain = registry.LoadPlugin(PluginPath("foreign")).status();
  CHECK(toolchain.code() == absl::StatusCode::kFailedPrecondition);
  CHECK_THAT(TextOf(toolchain),
             Catch::Contains("built with another toolchain, dcp with abseil"));
}

TEST_CASE("what is not a plug-in is said to be none", "[plugin]") {
  StorageRegistry registry;
  const Status missing = registry.LoadPlugin("/no/such/plugin.so").status();
  CHECK(missing.code() == absl::StatusCode::kNotFound);
  CHECK_THAT(TextOf(missing), Catch::Contains("/no/such/plugin.so"));
  const Status other = registry.LoadPlugin("libm.so.6").status();
  CHECK(other.code() == absl::StatusCode::kInvalidArgument);
  CHECK_THAT(TextOf(other), Catch::Contains("dcp_plugin_entry"));
}

}  // namespace
}  // namespace dcp
