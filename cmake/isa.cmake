# One line for each instruction set: its source, csrc/kernels/<name>.cpp, and its flags for GCC and Clang (clang-cl, too),
# and for MSVC, which takes any intrinsic with any flags: those only say what it may use by itself.
# csrc/isa_list.inc lists them again, best first, with the CPU features that they need.
function(frazil_isa target name flags msvc_flags)
  set(source ${PROJECT_SOURCE_DIR}/csrc/kernels/${name}.cpp)
  target_sources(${target} PRIVATE ${source})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "MSVC")
    separate_arguments(options NATIVE_COMMAND "${msvc_flags}")
  else()
    separate_arguments(options NATIVE_COMMAND "${flags}")
  endif()
  set_source_files_properties(${source} TARGET_DIRECTORY ${target} PROPERTIES COMPILE_OPTIONS "${options}")
endfunction()

function(frazil_isas target)
  # GCC 12's own AVX-512 header seems to use variables uninitialized (its bug 105593).
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    set(quiet "-Wno-uninitialized -Wno-maybe-uninitialized")
  endif()
  frazil_isa(${target} scalar "" "")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    frazil_isa(${target} sse41 "-mssse3 -msse4.1" "")
    frazil_isa(${target} avx2 "-mavx2 -mfma -mf16c" "/arch:AVX2")
    frazil_isa(${target} avxvnni "-mavx2 -mfma -mf16c -mavxvnni" "/arch:AVX2")
    frazil_isa(${target} avx512vnni "-mavx2 -mfma -mf16c -mpopcnt -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni ${quiet}" "/arch:AVX512")
  endif()
endfunction()
