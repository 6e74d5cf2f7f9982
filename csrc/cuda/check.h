// One check for every call of the CUDA runtime.
#pragma once

#include <cuda_runtime_api.h>

#include <source_location>

namespace trtfast::cuda {

/// Clears the error and throws CudaError with the call, CUDA's text, and the place.
[[noreturn]] void fail(cudaError_t error, const char* call, const std::source_location& where);

inline void check(cudaError_t error, const char* call,
                  const std::source_location& where = std::source_location::current()) {
  if (error != cudaSuccess) fail(error, call, where);
}

}  // namespace trtfast::cuda

#define TRTFAST_CUDA(call) ::trtfast::cuda::check((call), #call)
