# libmoat.so: lib/ with what it needs of control/ and base/, of which nothing is seen from outside.
# procsync is of moat exec alone, and wants jansson.
add_library(libmoat SHARED $<TARGET_OBJECTS:lib> $<TARGET_OBJECTS:base>
  $<FILTER:$<TARGET_OBJECTS:control>,EXCLUDE,procsync>)
set_target_properties(libmoat PROPERTIES OUTPUT_NAME moat VERSION ${PROJECT_VERSION} SOVERSION 0
  LINKER_LANGUAGE C LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/lib/libmoat.map)
target_link_libraries(libmoat PRIVATE PkgConfig::PROTOBUF_C PkgConfig::LIBBSD)
target_link_options(libmoat PRIVATE -pthread -Wl,--version-script=${CMAKE_SOURCE_DIR}/lib/libmoat.map
  -Wl,--no-undefined -Wl,-z,relro,-z,now
  # A library has no such symbol, by which debug builds name places in the code (base/lock_order.c).
  -Wl,--defsym=__executable_start=0)
if(MOAT_SANITIZE)
  target_link_options(libmoat PRIVATE -fsanitize=${MOAT_SANITIZE})
endif()
include(GNUInstallDirs)
configure_file(${CMAKE_SOURCE_DIR}/lib/libmoat.pc.in ${CMAKE_BINARY_DIR}/lib/libmoat.pc @ONLY)
configure_file(${CMAKE_SOURCE_DIR}/lib/libmoat-uninstalled.pc.in
  ${CMAKE_BINARY_DIR}/lib/libmoat-uninstalled.pc @ONLY)
if(NOT MOAT_SANITIZE AND NOT MOAT_FUZZ)
  # The package has the program alone, which needs nothing: cmake --install build --component embed.
  install(TARGETS libmoat LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT embed EXCLUDE_FROM_ALL)
  install(FILES tools/systemd/moat-pool.service DESTINATION lib/systemd/system)
  install(FILES lib/libmoat.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT embed EXCLUDE_FROM_ALL)
  install(FILES ${CMAKE_BINARY_DIR}/lib/libmoat.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    COMPONENT embed EXCLUDE_FROM_ALL)
endif()
