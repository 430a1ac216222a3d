# The stub's flat image: compiled freestanding, linked at its fixed address, embedded by blob.S.
set(STUB_DIR ${CMAKE_SOURCE_DIR}/sentry/platform/stub)
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
add_custom_command(
  OUTPUT ${STUB_OUT}/stub.bin
  COMMAND ${CMAKE_C_COMPILER} ${STUB_CFLAGS} -c ${STUB_DIR}/stub.c -o ${STUB_OUT}/stub_c.o
  COMMAND ${CMAKE_C_COMPILER} -c ${STUB_DIR}/entry.S -o ${STUB_OUT}/stub_entry.o
  COMMAND ld -static -nostdlib --build-id=none -z noexecstack -T ${STUB_DIR}/stub.lds -o ${STUB_OUT}/stub.elf
    ${STUB_OUT}/stub_entry.o ${STUB_OUT}/stub_c.o
  COMMAND objcopy -O binary ${STUB_OUT}/stub.elf ${STUB_OUT}/stub.bin
  DEPENDS ${STUB_DIR}/stub.c ${STUB_DIR}/entry.S ${STUB_DIR}/stub.lds
    ${CMAKE_SOURCE_DIR}/sentry/platform/layout.h ${CMAKE_SOURCE_DIR}/sentry/platform/layout_asm.h
  VERBATIM)
add_custom_target(stub_image DEPENDS ${STUB_OUT}/stub.bin)
set_source_files_properties(${CMAKE_SOURCE_DIR}/sentry/platform/blob.S PROPERTIES
  OBJECT_DEPENDS ${STUB_OUT}/stub.bin INCLUDE_DIRECTORIES ${STUB_OUT})
add_dependencies(sentry stub_image)
