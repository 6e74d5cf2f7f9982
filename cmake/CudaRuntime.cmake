# trtfast::cudart, the CUDA runtime linked statically: from the system's toolkit where there is one
# of at least 12.8, else from NVIDIA's packages on PyPI, which the build requires anyway.
find_package(Threads REQUIRED)
find_package(CUDAToolkit 12.8 QUIET)
add_library(trtfast_cudart INTERFACE)
add_library(trtfast::cudart ALIAS trtfast_cudart)

if(TARGET CUDA::cudart_static)
  message(STATUS "CUDA runtime ${CUDAToolkit_VERSION} from ${CUDAToolkit_LIBRARY_ROOT}")
  target_link_libraries(trtfast_cudart INTERFACE CUDA::cudart_static)
else()
  find_package(Python COMPONENTS Interpreter REQUIRED)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c "import nvidia; print(*nvidia.__path__, sep=';', end='')"
    OUTPUT_VARIABLE nvidia_packages RESULT_VARIABLE failed ERROR_QUIET)
  find_path(TRTFAST_CUDA_INCLUDE cuda_runtime_api.h
    HINTS ${nvidia_packages} PATH_SUFFIXES cu13/include NO_DEFAULT_PATH)
  find_library(TRTFAST_CUDART_STATIC libcudart_static.a
    HINTS ${nvidia_packages} PATH_SUFFIXES cu13/lib NO_DEFAULT_PATH)
  if(NOT TRTFAST_CUDA_INCLUDE OR NOT TRTFAST_CUDART_STATIC)
    message(FATAL_ERROR "No CUDA runtime: install the CUDA toolkit 12.8 or newer, or run "
      "`pip install nvidia-cuda-runtime nvidia-cuda-crt` for this Python.")
  endif()
  message(STATUS "CUDA runtime ${TRTFAST_CUDART_STATIC}")
  target_include_directories(trtfast_cudart SYSTEM INTERFACE "${TRTFAST_CUDA_INCLUDE}")
  target_link_libraries(trtfast_cudart
    INTERFACE "${TRTFAST_CUDART_STATIC}" Threads::Threads ${CMAKE_DL_LIBS} rt)
endif()
