#include "cuda/check.h"

#include <filesystem>
#include <string>

#include "cuda/fork.h"
#include "error.h"

namespace trtfast::cuda {

void fail(cudaError_t error, const char* call, const std::source_location& where) {
  static_cast<void>(cudaGetLastError());  // clear it: the next call should report its own
  throw CudaError(std::string(call) + " failed with " + cudaGetErrorName(error) + ", " +
                  cudaGetErrorString(error) + " (" +
                  std::filesystem::path(where.file_name()).filename().string() + ":" +
                  std::to_string(where.line()) + ")" +
                  // Another library may have used CUDA before the fork, which this one cannot know.
                  (error == cudaErrorInitializationError && forks() > 0
                       ? std::string(": ") + kForkAdvice
                       : ""));
}

}  // namespace trtfast::cuda
