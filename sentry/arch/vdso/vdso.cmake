# The guest's vDSO: a small shared object, embedded by sentry/platform/shared/vdso_image.S.
set(VDSO_DIR ${CMAKE_SOURCE_DIR}/sentry/arch/vdso)
add_custom_command(
  OUTPUT ${CMAKE_BINARY_DIR}/generated/vdso.so
  COMMAND ${CMAKE_C_COMPILER} -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -Wno-unused-parameter
    -ffreestanding -fno-stack-protector -fcf-protection=none -fPIC -fasynchronous-unwind-tables -U_FORTIFY_SOURCE
    -mno-red-zone -shared -nostdlib -Wl,--hash-style=both -Wl,-soname=linux-vdso.so.1 -Wl,-Bsymbolic
    -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,--build-id=none -Wl,--eh-frame-hdr -Wl,-s
    -Wl,-T,${VDSO_DIR}/vdso.lds -o ${CMAKE_BINARY_DIR}/generated/vdso.so ${VDSO_DIR}/vdso.c
  DEPENDS ${VDSO_DIR}/vdso.c ${VDSO_DIR}/vdso.lds
  VERBATIM)
add_custom_target(vdso_image DEPENDS ${CMAKE_BINARY_DIR}/generated/vdso.so)
set_source_files_properties(${CMAKE_SOURCE_DIR}/sentry/platform/shared/vdso_image.S PROPERTIES
  OBJECT_DEPENDS ${CMAKE_BINARY_DIR}/generated/vdso.so INCLUDE_DIRECTORIES ${CMAKE_BINARY_DIR}/generated)
add_dependencies(sentry vdso_image)
