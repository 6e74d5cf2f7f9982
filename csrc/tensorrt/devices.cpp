#include "tensorrt/devices.h"

#include <algorithm>
#include <array>

namespace trtfast::tensorrt {

bool supports(Generation generation, int compute_capability) noexcept {
  // TensorRT: "NVIDIA GPUs of compute capability 7.5 and later" (support matrix of 10.x and 11.x).
  // TensorRT-RTX: the values of its enum ComputeCapability; 12.1 since 1.5. There is no 9.0.
  constexpr std::array kRtx = {75, 80, 86, 89, 120, 121};
  if (!is_rtx(generation)) return compute_capability >= 75;
  const bool too_new = generation == Generation::kRtx14 && compute_capability == 121;
  return !too_new && std::ranges::find(kRtx, compute_capability) != kRtx.end();
}

}  // namespace trtfast::tensorrt
