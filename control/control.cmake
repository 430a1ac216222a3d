# control/moat.proto as C: generated/control/moat.pb-c.{c,h}, from Debian's protobuf-c.
find_program(PROTOC_C protoc-c REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
# The archive: a shared library more costs a sandbox's start a quarter of a millisecond.
find_library(PROTOBUF_C_LIBRARY NAMES libprotobuf-c.a protobuf-c REQUIRED)
set(schema ${CMAKE_BINARY_DIR}/generated/control/moat.pb-c)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated/control)
add_custom_command(OUTPUT ${schema}.c ${schema}.h
  COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/control
    --c_out=${CMAKE_BINARY_DIR}/generated/control moat.proto
  DEPENDS ${CMAKE_SOURCE_DIR}/control/moat.proto VERBATIM)
add_custom_target(control_schema DEPENDS ${schema}.c ${schema}.h)
target_sources(control PRIVATE ${schema}.c)
set_source_files_properties(${schema}.c PROPERTIES GENERATED TRUE COMPILE_OPTIONS "-w")
add_dependencies(control control_schema)
add_dependencies(boot control_schema)
add_dependencies(lib control_schema)
