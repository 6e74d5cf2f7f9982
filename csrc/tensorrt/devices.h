// Which GPUs a TensorRT release lists as supported.
#pragma once

#include "tensorrt/abi.h"

namespace trtfast::tensorrt {

/// @param compute_capability major * 10 + minor.
[[nodiscard]] bool supports(Generation generation, int compute_capability) noexcept;

}  // namespace trtfast::tensorrt
