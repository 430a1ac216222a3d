# The seccomp programs are made at build time: see filter/generator/generator.h.
add_executable(filter_generator filter/generator/generate.c filter/generator/sandbox_rules.c
  filter/generator/gofer_rules.c filter/generator/resolver_rules.c)
target_compile_definitions(filter_generator PRIVATE _GNU_SOURCE)
target_compile_options(filter_generator PRIVATE -Wall -Wextra -Werror -Wshadow)
target_include_directories(filter_generator PRIVATE ${CMAKE_BINARY_DIR}/include/base)
target_link_libraries(filter_generator PRIVATE PkgConfig::SECCOMP)
if(MOAT_SANITIZE)
  target_compile_definitions(filter_generator PRIVATE MOAT_FILTER_SANITIZERS)
endif()
set(filter_programs)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated/filter)
foreach(program sandbox sandbox-links sandbox-tracer sandbox-tracer-links
    sandbox-host sandbox-tracer-host gofer resolver)
  set(out ${CMAKE_BINARY_DIR}/generated/filter/${program}.inc)
  add_custom_command(OUTPUT ${out} COMMAND filter_generator ${program} > ${out}
    DEPENDS filter_generator)
  list(APPEND filter_programs ${out})
endforeach()
add_custom_target(filter_programs DEPENDS ${filter_programs})
add_dependencies(filter filter_programs)
