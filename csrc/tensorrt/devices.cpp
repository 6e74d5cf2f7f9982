#include "tensorrt/devices.h"

#include <algorithm>
#include <span>

namespace trtfast::tensorrt {
namespace {

// TensorRT's support matrices of 10.x and 11.x: "compute capability 7.5 and later".
constexpr int kOldest = 75;

// TensorRT-RTX: the values of its enum ComputeCapability. There is no 9.0; 12.1 came with 1.5.
constexpr int kRtx[] = {75, 80, 86, 89, 120, 121};

std::span<const int> listed(Generation generation) {
  const std::span<const int> all(kRtx);
  return generation == Generation::kRtx14 ? all.first(all.size() - 1) : all;
}

}  // namespace

bool supports(Generation generation, int compute_capability) {
  if (!is_rtx(generation)) return compute_capability >= kOldest;
  const auto known = listed(generation);
  return std::ranges::find(known, compute_capability) != known.end();
}

std::string supported_list(Generation generation) {
  if (!is_rtx(generation)) return std::to_string(kOldest) + " and later";
  std::string text;
  for (const int capability : listed(generation)) {
    text += (text.empty() ? "" : ", ") + std::to_string(capability);
  }
  return text;
}

}  // namespace trtfast::tensorrt
