# moat-serve, where libmicrohttpd is.
pkg_check_modules(MICROHTTPD IMPORTED_TARGET libmicrohttpd)
if(MICROHTTPD_FOUND AND NOT MOAT_FUZZ)
  file(GLOB serve_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/serve/*.c)
  add_executable(moat-serve ${serve_sources})
  set_source_files_properties(${CMAKE_SOURCE_DIR}/tools/serve/page.c PROPERTIES
    COMPILE_DEFINITIONS "PAGE_FILE=\"${CMAKE_SOURCE_DIR}/tools/serve/page.html\""
    OBJECT_DEPENDS ${CMAKE_SOURCE_DIR}/tools/serve/page.html)
  target_include_directories(moat-serve PRIVATE ${CMAKE_SOURCE_DIR}/lib)
  target_compile_definitions(moat-serve PRIVATE "MOAT_VERSION=\"${PROJECT_VERSION}\"")
  target_link_libraries(moat-serve PRIVATE moat_flags libmoat PkgConfig::MICROHTTPD PkgConfig::JANSSON md)
  if(NOT MOAT_SANITIZE)
    install(TARGETS moat-serve RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT embed EXCLUDE_FROM_ALL)
  endif()
endif()
