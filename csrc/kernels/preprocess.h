// From uint8 images to an engine's input, on the device: plain C++ signatures over CUDA kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/resample.h"
#include "tensorrt/types.h"

namespace trtfast::kernels {

enum class Channels : std::int32_t { kRgb, kBgr, kGray };
enum class Layout : std::int32_t { kNchw, kNhwc };

/// What every image of a batch becomes.
struct Format {
  std::int32_t height;
  std::int32_t width;
  Channels channels;
  Layout layout;
  std::uint8_t fill[3];  // the padding's pixel

  [[nodiscard]] TRTFAST_BOTH int depth() const { return channels == Channels::kGray ? 1 : 3; }
  [[nodiscard]] TRTFAST_BOTH std::size_t values() const {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
           static_cast<std::size_t>(depth());
  }
};

/// True for the dtypes that preprocess() writes.
[[nodiscard]] bool can_preprocess_to(tensorrt::DataType dtype) noexcept;

/// Room for values between two kernels, where values are normalised by the least and the largest
/// of their image: `count` * Format::values() bytes of pixels, and two words for each image.
struct Scratch {
  std::uint8_t* pixels = nullptr;
  std::int32_t* extremes = nullptr;
};

/// What a kernel is made for: linear's two taps along each axis, other small numbers of them, which
/// are fixed, and as many as sizes ask for.
enum class Kind : std::int8_t { kLinear, kFew, kMany };

TRTFAST_BOTH constexpr Kind kind_of(Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::kLinear) return Kind::kLinear;
  return fixed_taps(arithmetic) > 0 ? Kind::kFew : Kind::kMany;
}

/// Of which kinds a batch has images.
class Kinds {
 public:
  void add(Kind kind) { has_[static_cast<std::size_t>(kind)] = true; }
  [[nodiscard]] bool has(Kind kind) const { return has_[static_cast<std::size_t>(kind)]; }

 private:
  std::array<bool, 3> has_{};
};

/// Resamples, crops, pads, reorders and normalises a batch. All pointers are to device memory.
/// @param sources `count` of them, of these kinds.
/// @param tables what their axes refer to.
/// @param normalized float32 (depth, 256), the value of each pixel value; null to map the least
///   value of an image to 0 and the largest to 1. Not used for an output of uint8.
/// @param scratch only where `normalized` is null and the output is no uint8.
/// @param output of the format's layout, in `dtype`.
void preprocess(const Source* sources, std::int64_t count, const Kinds& kinds,
                const std::int32_t* tables, const float* normalized, const Format& format,
                const Scratch& scratch, void* output, tensorrt::DataType dtype,
                cudaStream_t stream);

}  // namespace trtfast::kernels
