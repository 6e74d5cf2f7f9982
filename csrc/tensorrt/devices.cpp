#include "tensorrt/devices.h"

#include <algorithm>
#include <iterator>

namespace trtfast::tensorrt {
namespace {

// A compute capability, the first release that lists it, and the first that does so no more.
struct Listed {
  int capability;
  Version since;
  Version before;

  [[nodiscard]] bool by(Version version) const noexcept {
    return since.number <= version.number && version.number < before.number;
  }
};

constexpr Version kRtx{10300};  // TensorRT-RTX counts from 1.3 on, TensorRT from 10.0
constexpr Version kTensorRt{100000};
constexpr Version kRtxEnd{20000};
constexpr Version kEnd{120000};

constexpr Listed kListed[] = {
    // TensorRT-RTX: the values of the headers' enum ComputeCapability, and in the support matrix of
    // 1.5 the first mention of 12.1. None lists 9.0.
    {75, kRtx, kRtxEnd},
    {80, kRtx, kRtxEnd},
    {86, kRtx, kRtxEnd},
    {89, kRtx, kRtxEnd},
    {120, kRtx, kRtxEnd},
    {121, {10500}, kRtxEnd},
    // TensorRT, on x86-64: the support matrix of 10.1 has all from 7.0 to 9.0. The release notes of
    // 10.5 end 7.0, those of 10.8 begin Blackwell (10.0 and 12.0), those of the DGX GB300
    // name 10.13
    // for its 10.3, and those of 11.1 name 12.1. None up to 11.1 ends another.
    {70, kTensorRt, {100500}},
    {75, kTensorRt, kEnd},
    {80, kTensorRt, kEnd},
    {86, kTensorRt, kEnd},
    {89, kTensorRt, kEnd},
    {90, kTensorRt, kEnd},
    {100, {100800}, kEnd},
    {103, {101300}, kEnd},
    {120, {100800}, kEnd},
    {121, {110100}, kEnd},
};

}  // namespace

bool supports(Version version, int compute_capability) {
  return std::ranges::any_of(kListed, [&](const Listed& entry) {
    return entry.capability == compute_capability && entry.by(version);
  });
}

std::string supported_list(Version version) {
  std::string text;
  for (const Listed& entry : kListed) {
    if (entry.by(version)) text += (text.empty() ? "" : ", ") + std::to_string(entry.capability);
  }
  return text;
}

}  // namespace trtfast::tensorrt
