# find_package(Zephyr): the functions of Zephyr's CMake that modules use, by their documentation. The
# application becomes a program of this machine. MODULE_CMAKE is `build: cmake:` of module.yml; what
# Kconfig decides comes as CONFIG_... definitions.
project(Zephyr-Kernel LANGUAGES C ASM)
add_library(zephyr_interface INTERFACE)
target_include_directories(zephyr_interface INTERFACE ${CMAKE_CURRENT_LIST_DIR})
add_executable(app)
target_link_libraries(app PRIVATE zephyr_interface)

function(zephyr_include_directories)
  foreach(folder ${ARGV})
    get_filename_component(folder ${folder} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
    target_include_directories(zephyr_interface INTERFACE ${folder})
  endforeach()
endfunction()

macro(zephyr_library_named name)
  set(ZEPHYR_CURRENT_LIBRARY ${name})
  add_library(${name} STATIC)
  target_link_libraries(${name} PRIVATE zephyr_interface)
  target_link_libraries(app PRIVATE ${name})
endmacro()

function(zephyr_library_sources)
  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGV})
endfunction()

function(zephyr_library_compile_options)
  target_compile_options(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGV})
endfunction()

foreach(module ${EXTRA_ZEPHYR_MODULES})
  add_subdirectory(${module}/${MODULE_CMAKE} ${CMAKE_BINARY_DIR}/module)
endforeach()
