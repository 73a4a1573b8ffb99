# dcp_module(NAME SOURCES ... [DEPS ...] [LINKS ...]): one module of libdcp.
#
# Makes dcp_<NAME>_objects, from which libdcp is put together, and the static
# library dcp_<NAME> for tests and for the modules above. DEPS are modules of
# lower layers, LINKS are libraries from outside.

add_library(dcp_options INTERFACE)
target_compile_options(dcp_options INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Werror
  # Designated initializers leave the other fields at their defaults.
  -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 at -O3 sees overlaps in std::string's operator+ (GCC bug 105651).
  target_compile_options(dcp_options INTERFACE -Wno-restrict)
endif()
if(DCP_SANITIZE)
  add_compile_options(-fsanitize=${DCP_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DCP_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Of instrumented code GCC says it of empty variants, too (gcc(1), the
    # warnings under -fsanitize).
    target_compile_options(dcp_options INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()

function(dcp_module name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LINKS" ${ARGN})
  list(TRANSFORM ARG_DEPS PREPEND dcp_)

  add_library(dcp_${name}_objects OBJECT ${ARG_SOURCES})
  target_include_directories(dcp_${name}_objects PRIVATE
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(dcp_${name}_objects
    PRIVATE ${ARG_DEPS} ${ARG_LINKS} dcp_options)

  add_library(dcp_${name} STATIC $<TARGET_OBJECTS:dcp_${name}_objects>)
  target_include_directories(dcp_${name} PUBLIC
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(dcp_${name} PUBLIC ${ARG_DEPS} ${ARG_LINKS})

  set_property(GLOBAL APPEND PROPERTY DCP_MODULES ${name})
  set_property(GLOBAL APPEND PROPERTY DCP_LINKS ${ARG_LINKS})
endfunction()
