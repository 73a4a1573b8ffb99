// One function per concept; module.cc calls them all.

#ifndef DCP_BINDINGS_REGISTRARS_H_
#define DCP_BINDINGS_REGISTRARS_H_

#include <pybind11/pybind11.h>

namespace dcp {

void BindStatus(pybind11::module_& m);
void BindInfo(pybind11::module_& m);
void BindTrace(pybind11::module_& m);
void BindStaging(pybind11::module_& m);
void BindTransport(pybind11::module_& m);
void BindFileSystem(pybind11::module_& m);
void BindMetadata(pybind11::module_& m);
void BindStorage(pybind11::module_& m);
void BindMapping(pybind11::module_& m);
void BindPlugin(pybind11::module_& m);
void BindCheckpoint(pybind11::module_& m);
void BindClean(pybind11::module_& m);
void BindDeviceMesh(pybind11::module_& m);
void BindConvert(pybind11::module_& m);
void BindCopy(pybind11::module_& m);
void BindDescribe(pybind11::module_& m);
void BindLayout(pybind11::module_& m);
void BindVerify(pybind11::module_& m);
void BindManager(pybind11::module_& m);
void BindSimulate(pybind11::module_& m);
void BindSimulateSave(pybind11::module_& m);  // after BindSimulate

}  // namespace dcp

#endif  // DCP_BINDINGS_REGISTRARS_H_
