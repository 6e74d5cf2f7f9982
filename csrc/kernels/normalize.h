// From uint8 images to an engine's input, on the device: plain C++ signatures over CUDA kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "tensorrt/types.h"

namespace trtfast::kernels {

/// The value of each of 256 pixel values, for each of 3 channels.
inline constexpr std::size_t kTableSize = std::size_t{3} * 256;

/// True for the dtypes that normalize() writes.
[[nodiscard]] bool can_normalize_to(tensorrt::DataType dtype) noexcept;

/// output[n, c, y, x] = table[c][images[n, y, x, c]], in the dtype of the output: normalisation and
/// HWC to CHW in one pass. A table makes it bit for bit what the CPU gives with the same table.
/// @param images device memory, uint8 (count, height, width, 3).
/// @param pixels height * width.
/// @param table device memory, float32 (3, 256).
/// @param output device memory, (count, 3, height, width).
void normalize(const std::uint8_t* images, std::int64_t count, std::int64_t pixels,
               const float* table, void* output, tensorrt::DataType dtype, cudaStream_t stream);

}  // namespace trtfast::kernels
