# Rooms: folders of a part whose doors the build keeps. Included by CMakeLists.txt.
#
# A header NAME_internal.h belongs to its folder: only the sources there find it. The other headers
# of the part are for all of its rooms, and those named as DOORS for other parts. Everybody includes
# by the path from the top, "netstack/tcp/tcp.h"; what is closed to a source is not on its include
# path. So under <build>/include there are, as links to the headers themselves,
#   P/P/...             the doors, for other parts
#   P.rooms/P/...       all but the internal headers, for the part itself and its tests
#   P.room/R/P/R/...    the internal headers of folder R, for the sources in R
# tools/rooms checks the rest: which room may include which.

# Made anew by each configuration: a part may have got rooms since the last one, or lost them. (It
# removes links, not what they lead to.)
file(REMOVE_RECURSE ${CMAKE_BINARY_DIR}/include)

# moat_rooms(PART SOURCES file... DOORS header...|ALL)
function(moat_rooms part)
  cmake_parse_arguments(P "" "" "SOURCES;DOORS" ${ARGN})
  set(top ${CMAKE_SOURCE_DIR}/${part})
  set(include ${CMAKE_BINARY_DIR}/include)
  # A part without rooms is one link to its source folder; never write through that.
  if(IS_SYMLINK ${include}/${part}/${part})
    file(REMOVE ${include}/${part}/${part})
  endif()
  file(REMOVE_RECURSE ${include}/${part} ${include}/${part}.rooms ${include}/${part}.room)
  file(GLOB_RECURSE headers RELATIVE ${top} CONFIGURE_DEPENDS ${top}/*.h ${top}/*.def)
  set(open ${headers})
  set(closed ${headers})
  list(FILTER open EXCLUDE REGEX "_internal\\.h$")
  list(FILTER closed INCLUDE REGEX "_internal\\.h$")
  if(P_DOORS STREQUAL "ALL")
    set(P_DOORS ${open})
  endif()
  foreach(header ${P_DOORS})
    if(NOT header IN_LIST open)
      message(FATAL_ERROR "${part}: the door ${header} is no header of the part's")
    endif()
    moat_link_header(${part}/${header} ${include}/${part})
  endforeach()
  foreach(header ${open})
    moat_link_header(${part}/${header} ${include}/${part}.rooms)
  endforeach()
  foreach(header ${closed})
    get_filename_component(room ${header} DIRECTORY)
    moat_link_header(${part}/${header} ${include}/${part}.room/${room})
  endforeach()
  foreach(source ${P_SOURCES})
    get_filename_component(folder ${source} DIRECTORY)
    file(RELATIVE_PATH room ${top} ${folder})
    if(EXISTS ${include}/${part}.room/${room}/${part})
      set_property(SOURCE ${source} APPEND PROPERTY INCLUDE_DIRECTORIES
        ${include}/${part}.room/${room})
    endif()
  endforeach()
endfunction()

function(moat_link_header header folder)
  get_filename_component(to ${folder}/${header} DIRECTORY)
  file(MAKE_DIRECTORY ${to})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${header} ${folder}/${header} SYMBOLIC)
endfunction()

# moat_inside(TARGET PART [ROOM...]): lets a test of the part's into its rooms.
function(moat_inside target part)
  target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/include/${part}.rooms)
  foreach(room ${ARGN})
    target_include_directories(${target} PRIVATE ${CMAKE_BINARY_DIR}/include/${part}.room/${room})
  endforeach()
endfunction()
