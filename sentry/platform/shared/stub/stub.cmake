# The stub's flat image, of the parts that all platforms have in it: compiled freestanding, linked at its
# fixed address, embedded by blob.S.
set(STUB_PLATFORM ${CMAKE_SOURCE_DIR}/sentry/platform)
set(STUB_OUT ${CMAKE_BINARY_DIR}/generated)
file(MAKE_DIRECTORY ${STUB_OUT})
# There is no memset or memcpy that the compiler could call instead of a loop, and no GOT.
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
  set(STUB_NO_LIBC_CALLS -fno-builtin -fdirect-access-external-data)
else()
  set(STUB_NO_LIBC_CALLS -fno-tree-loop-distribute-patterns)
endif()
set(STUB_CFLAGS -std=gnu17 -O2 -Wall -Wextra -Werror -Wno-unused-parameter -ffreestanding -fno-stack-protector
  -mgeneral-regs-only -mno-red-zone -fpie -fvisibility=hidden -fcf-protection=none -fno-asynchronous-unwind-tables
  -fno-omit-frame-pointer -fno-jump-tables ${STUB_NO_LIBC_CALLS} -mfsgsbase -U_FORTIFY_SOURCE -D_GNU_SOURCE)
set(STUB_OBJECTS)
file(GLOB stub_headers CONFIGURE_DEPENDS ${STUB_PLATFORM}/shared/stub/*.h ${STUB_PLATFORM}/shared/layout*.h
  ${STUB_PLATFORM}/systrap/layout*.h)
foreach(source shared/stub/start.S shared/stub/zygote.c systrap/stub/entry.S systrap/stub/stub.c
    ptrace/stub/traced.S ptrace/stub/traced.c)
  get_filename_component(name ${source} NAME)
  set(flags)
  if(source MATCHES "\\.c$")
    set(flags ${STUB_CFLAGS})
  endif()
  add_custom_command(OUTPUT ${STUB_OUT}/stub_${name}.o
    COMMAND ${CMAKE_C_COMPILER} ${flags} -c ${STUB_PLATFORM}/${source} -o ${STUB_OUT}/stub_${name}.o
    DEPENDS ${STUB_PLATFORM}/${source} ${stub_headers}
    VERBATIM)
  list(APPEND STUB_OBJECTS ${STUB_OUT}/stub_${name}.o)
endforeach()
add_custom_command(
  OUTPUT ${STUB_OUT}/stub.bin
  COMMAND ld -static -nostdlib --build-id=none -z noexecstack -T ${STUB_PLATFORM}/shared/stub/stub.lds
    -o ${STUB_OUT}/stub.elf ${STUB_OBJECTS}
  COMMAND objcopy -O binary ${STUB_OUT}/stub.elf ${STUB_OUT}/stub.bin
  DEPENDS ${STUB_OBJECTS} ${STUB_PLATFORM}/shared/stub/stub.lds
  VERBATIM)
add_custom_target(stub_image DEPENDS ${STUB_OUT}/stub.bin)
set_source_files_properties(${STUB_PLATFORM}/shared/blob.S PROPERTIES
  OBJECT_DEPENDS ${STUB_OUT}/stub.bin INCLUDE_DIRECTORIES ${STUB_OUT})
add_dependencies(sentry stub_image)
