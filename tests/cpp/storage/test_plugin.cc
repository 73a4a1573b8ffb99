// A plug-in in several kinds, for plugin_test.cc: one that works, and what can
// go wrong with others.

#include "dcp/plugin.h"

namespace {

dcp::Status AddStorages(dcp::StorageRegistry& registry) {
  DCP_RETURN_IF_ERROR(
      registry.AddFileSystem("test1", dcp::MakeMemoryFileSystem()));
#ifdef DCP_TEST_failing
  return dcp::Unimplemented("no such luck");
#endif
  return registry.AddFileSystem("test2", dcp::MakeMemoryFileSystem());
}

}  // namespace

#if defined(DCP_TEST_old) || defined(DCP_TEST_foreign)
extern "C" const dcp::PluginEntry* dcp_plugin_entry() {
#ifdef DCP_TEST_old
  static const dcp::PluginEntry kEntry = {0, DCP_PLUGIN_TOOLCHAIN, "old",
                                          AddStorages};
#else
  static const dcp::PluginEntry kEntry = {
      dcp::kPluginAbiVersion, "another toolchain", "foreign", AddStorages};
#endif
  return &kEntry;
}
#else
DCP_PLUGIN("test plug-in", AddStorages)
#endif
