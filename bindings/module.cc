#include "registrars.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "libdcp: the C++ core of dcpcpp. Private; use dcpcpp.";
  dcp::BindStatus(m);
  dcp::BindInfo(m);
  dcp::BindTrace(m);
  dcp::BindTransport(m);
  dcp::BindFileSystem(m);
  dcp::BindMetadata(m);
  dcp::BindStorage(m);
  dcp::BindMapping(m);
  dcp::BindPlugin(m);
  dcp::BindStaging(m);
  dcp::BindDeviceMesh(m);
  dcp::BindCheckpoint(m);
  dcp::BindClean(m);
  dcp::BindConvert(m);
  dcp::BindCopy(m);
  dcp::BindDescribe(m);
  dcp::BindLayout(m);
  dcp::BindVerify(m);
  dcp::BindManager(m);
  dcp::BindSimulate(m);
  dcp::BindSimulateSave(m);
}
