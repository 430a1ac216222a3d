# What belongs to the netstack beside its object library.

file(GLOB netstack_bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/bench/netstack/*.c)
if(netstack_bench_sources)
  add_executable(netstack_bench EXCLUDE_FROM_ALL ${netstack_bench_sources}
    $<TARGET_OBJECTS:netstack> $<TARGET_OBJECTS:base>)
  target_link_libraries(netstack_bench PRIVATE moat_flags PkgConfig::LIBBSD ${URING_LIBRARY} m)
  target_include_directories(netstack_bench PRIVATE ${CMAKE_BINARY_DIR}/include/netstack
    ${CMAKE_BINARY_DIR}/include/base)
endif()

file(GLOB loss_bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tools/bench/netstack/loss/*.c)
if(loss_bench_sources)
  add_executable(netstack_loss_bench EXCLUDE_FROM_ALL ${loss_bench_sources}
    ${CMAKE_SOURCE_DIR}/tools/bench/netstack/packet_socket.c
    $<TARGET_OBJECTS:netstack> $<TARGET_OBJECTS:base>)
  target_link_libraries(netstack_loss_bench PRIVATE moat_flags PkgConfig::LIBBSD ${URING_LIBRARY} m)
  target_include_directories(netstack_loss_bench PRIVATE ${CMAKE_BINARY_DIR}/include/netstack
    ${CMAKE_BINARY_DIR}/include/base)
endif()
