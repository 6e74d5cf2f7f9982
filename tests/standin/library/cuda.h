// The device that the stand-in computes on.
#pragma once

#include <string>

#include "cuda_hooks.h"

namespace standin {

/// The test's fake of the CUDA runtime.
[[nodiscard]] const CudaHooks& cuda() noexcept;

/// As TensorRT words it.
[[nodiscard]] std::string out_of_memory(std::size_t bytes);

}  // namespace standin
