# libdcp: all modules in one library, shared (dcp::dcp) and static
# (dcp::dcp_static), with a CMake package and a pkg-config file.

include(CMakePackageConfigHelpers)

get_property(modules GLOBAL PROPERTY DCP_MODULES)
get_property(links GLOBAL PROPERTY DCP_LINKS)
list(REMOVE_DUPLICATES links)
set(objects)
foreach(module ${modules})
  list(APPEND objects $<TARGET_OBJECTS:dcp_${module}_objects>)
endforeach()
# What a user of the headers needs as well: Status.
set(public_links absl::status absl::statusor)
list(REMOVE_ITEM links ${public_links})

add_library(dcp SHARED ${objects})
if(NOT DCP_BUILD_PYTHON)
  # Not in the Python package: wheels have no links, so that each of the three
  # names would be a copy. There the library goes with its package.
  set_target_properties(dcp PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
endif()
target_link_libraries(dcp PUBLIC ${public_links} PRIVATE ${links})

add_library(dcp_static STATIC ${objects})
set_target_properties(dcp_static PROPERTIES OUTPUT_NAME dcp)
target_link_libraries(dcp_static PUBLIC ${public_links} ${links})

foreach(library dcp dcp_static)
  target_include_directories(${library} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${library} PUBLIC cxx_std_20)
  add_library(dcp::${library} ALIAS ${library})
endforeach()

# The process that saves beside a trainer (dcp/saver.h). It finds libdcp from
# where it lies itself, as installations are moved.
add_executable(dcpcpp_saver ${PROJECT_SOURCE_DIR}/src/saver/main.cc)
target_include_directories(dcpcpp_saver PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(dcpcpp_saver PRIVATE dcp dcp_options)
file(RELATIVE_PATH saver_to_library
     /prefix/${CMAKE_INSTALL_LIBEXECDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
set_target_properties(dcpcpp_saver PROPERTIES
  INSTALL_RPATH "$ORIGIN/${saver_to_library}")
install(TARGETS dcpcpp_saver
        RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR} COMPONENT library)

# Components: `library` is the shared library and all that it takes to build
# against it, `static` adds the static one, `python` (bindings/) the extension.
# `mpi` is dcp::mpi (src/mpi/). The wheel is python + library, so that plug-ins
# and the extension share one copy; a plain install has all but python.
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/dcp)
install(TARGETS dcp EXPORT dcpTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
install(EXPORT dcpTargets NAMESPACE dcp:: DESTINATION ${package_dir}
        COMPONENT library)
install(TARGETS dcp_static EXPORT dcpStaticTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT static)
install(EXPORT dcpStaticTargets NAMESPACE dcp:: DESTINATION ${package_dir}
        COMPONENT static)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dcp
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT library
        PATTERN mpi EXCLUDE)

set(DCP_SAVER_FILE ${CMAKE_INSTALL_LIBEXECDIR}/dcpcpp_saver)
configure_package_config_file(
  ${PROJECT_SOURCE_DIR}/cmake/dcpConfig.cmake.in
  ${PROJECT_BINARY_DIR}/dcpConfig.cmake INSTALL_DESTINATION ${package_dir}
  PATH_VARS DCP_SAVER_FILE)
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/dcpConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/dcpConfig.cmake
              ${PROJECT_BINARY_DIR}/dcpConfigVersion.cmake
        DESTINATION ${package_dir} COMPONENT library)
# Relative to the file itself, because `cmake --install --prefix` and pip put it
# where the configuration did not know.
set(pkgconfig_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH DCP_PC_PREFIX
     /prefix/${pkgconfig_dir} /prefix)
configure_file(${PROJECT_SOURCE_DIR}/cmake/dcp.pc.in
               ${PROJECT_BINARY_DIR}/dcp.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/dcp.pc
        DESTINATION ${pkgconfig_dir} COMPONENT library)
