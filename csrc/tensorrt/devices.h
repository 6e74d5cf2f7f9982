// Which GPUs a TensorRT release lists as supported.
#pragma once

#include <string>

#include "tensorrt/abi.h"

namespace trtfast::tensorrt {

/// @param compute_capability major * 10 + minor.
[[nodiscard]] bool supports(Version version, int compute_capability);

/// The compute capabilities that are supported, as text: "75, 80, 86".
[[nodiscard]] std::string supported_list(Version version);

}  // namespace trtfast::tensorrt
