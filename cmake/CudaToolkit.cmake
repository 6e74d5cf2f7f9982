# The CUDA runtime, linked statically, NVTX's headers, and nvcc: from the system's toolkit where
# there is one of at least 12.8 that has all of these, else from NVIDIA's packages on PyPI, which the
# build requires anyway.
#
# Defines trtfast::cudart, and trtfast_add_kernels(target sources...).
find_package(Threads REQUIRED)
find_package(CUDAToolkit 12.8 QUIET)
add_library(trtfast_cudart INTERFACE)
add_library(trtfast::cudart ALIAS trtfast_cudart)

find_path(TRTFAST_TOOLKIT_NVTX nvtx3/nvToolsExt.h HINTS ${CUDAToolkit_INCLUDE_DIRS} NO_DEFAULT_PATH)
if(TARGET CUDA::cudart_static AND CUDAToolkit_NVCC_EXECUTABLE AND TRTFAST_TOOLKIT_NVTX)
  target_link_libraries(trtfast_cudart INTERFACE CUDA::cudart_static)
  set(TRTFAST_NVCC "${CUDAToolkit_NVCC_EXECUTABLE}")
  set(TRTFAST_NVCC_INCLUDES "")
else()
  find_package(Python COMPONENTS Interpreter REQUIRED)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import nvidia; print(*nvidia.__path__, sep=';', end='')"
    OUTPUT_VARIABLE nvidia_packages ERROR_QUIET)
  find_path(TRTFAST_CUDA_INCLUDE cuda_runtime_api.h
    HINTS ${nvidia_packages} PATH_SUFFIXES cu13/include NO_DEFAULT_PATH)
  find_library(TRTFAST_CUDART_STATIC libcudart_static.a
    HINTS ${nvidia_packages} PATH_SUFFIXES cu13/lib NO_DEFAULT_PATH)
  find_program(TRTFAST_NVCC nvcc
    HINTS ${nvidia_packages} PATH_SUFFIXES cu13/bin NO_DEFAULT_PATH)
  find_path(TRTFAST_NVTX_INCLUDE nvtx3/nvToolsExt.h
    HINTS ${nvidia_packages} PATH_SUFFIXES cu13/include NO_DEFAULT_PATH)
  if(NOT TRTFAST_CUDA_INCLUDE OR NOT TRTFAST_CUDART_STATIC OR NOT TRTFAST_NVCC OR
     NOT TRTFAST_NVTX_INCLUDE)
    message(FATAL_ERROR "No CUDA toolkit: install 12.8 or newer, or run `pip install "
      "nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-cccl nvidia-nvtx` for this Python, in "
      "version 13.")
  endif()
  set(TRTFAST_NVCC_INCLUDES "-I${TRTFAST_CUDA_INCLUDE}/cccl")
  target_include_directories(trtfast_cudart SYSTEM
    INTERFACE "${TRTFAST_CUDA_INCLUDE}" "${TRTFAST_NVTX_INCLUDE}")
  target_link_libraries(trtfast_cudart
    INTERFACE "${TRTFAST_CUDART_STATIC}" Threads::Threads ${CMAKE_DL_LIBS} rt)
endif()
message(STATUS "nvcc ${TRTFAST_NVCC}")

set(TRTFAST_CUDA_ARCHITECTURES 75 80 86 89 90 100 120 CACHE STRING
  "Compute capabilities that kernels are compiled for, in ascending order")

# CMake's own CUDA language links test programs in ways that the packages on PyPI do not allow.
function(trtfast_add_kernels target)
  list(GET TRTFAST_CUDA_ARCHITECTURES -1 newest)  # as PTX too, for what comes after
  set(architectures -gencode=arch=compute_${newest},code=compute_${newest})
  foreach(capability ${TRTFAST_CUDA_ARCHITECTURES})
    list(APPEND architectures -gencode=arch=compute_${capability},code=sm_${capability})
  endforeach()
  foreach(source ${ARGN})
    set(object "${CMAKE_CURRENT_BINARY_DIR}/${source}.o")
    get_filename_component(folder "${object}" DIRECTORY)
    file(MAKE_DIRECTORY "${folder}")
    add_custom_command(
      OUTPUT "${object}"
      COMMAND "${TRTFAST_NVCC}" -c "${CMAKE_CURRENT_SOURCE_DIR}/${source}" -o "${object}"
        -std=c++20 -O3 --compress-mode=size -ccbin "${CMAKE_CXX_COMPILER}" -Xcompiler -fPIC,-fvisibility=hidden
        --Werror all-warnings ${architectures} ${TRTFAST_NVCC_INCLUDES}
        "-I${CMAKE_CURRENT_SOURCE_DIR}/csrc" -MD -MF "${object}.d"
      DEPENDS "${source}"
      DEPFILE "${object}.d"
      COMMENT "Compiling ${source}"
      VERBATIM)
    target_sources(${target} PRIVATE "${object}")
  endforeach()
endfunction()
