// Maps the least value of each image to 0 and the largest to 1, on the device.
#pragma once

#include "kernels/preprocess.h"

namespace trtfast::kernels {

/// @param scratch with the images' pixels, `count` times `values`.
/// @param output in `dtype`, of float32, float16 or bfloat16.
void stretch(std::int64_t count, std::size_t values, const Scratch& scratch, void* output,
             tensorrt::DataType dtype, cudaStream_t stream);

}  // namespace trtfast::kernels
