#include "cuda.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

namespace standin {

const CudaHooks& cuda() noexcept {
  static const auto* hooks = static_cast<const CudaHooks*>(dlsym(RTLD_DEFAULT, kCudaHooksSymbol));
  if (hooks == nullptr) {
    std::fputs("the stand-in needs the fake CUDA runtime of its tests\n", stderr);
    std::abort();
  }
  return *hooks;
}

std::string out_of_memory(std::size_t bytes) {
  return "[stand-in] Error Code 2: OutOfMemory (Requested size was " + std::to_string(bytes) +
         " bytes.)";
}

}  // namespace standin
