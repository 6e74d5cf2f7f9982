// From a classifier's logits to probabilities and its best classes, on the device: plain C++
// signatures over CUDA kernels.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <optional>

#include "tensorrt/types.h"

namespace trtfast::kernels {

/// Contiguous logits in device memory, of a dtype that can_classify().
struct Logits {
  const void* data;
  tensorrt::DataType dtype;
  std::int64_t rows;
  std::int64_t classes;  // of a row, at least 1
};

/// True for float16, bfloat16 and float32; all are computed in float32.
[[nodiscard]] bool can_classify(tensorrt::DataType dtype) noexcept;

/// Of each row, exp(x - peak) / sum of these. All of it is NaN where the peak is NaN or infinite.
/// @param probabilities device memory, (rows, classes).
/// @param peaks device memory, (rows): the row's maximum, and NaN where it has one.
void softmax(const Logits& logits, float* probabilities, float* peaks, cudaStream_t stream);

/// Of each row, the classes with the largest logits, the largest first and equals by index.
/// @param k at most as many as there are classes. The row is read once for each.
/// @param indices device memory, (rows, k).
/// @param confidences device memory, (rows, k): what softmax() gives there.
/// @param peaks as of softmax(); where one is NaN or infinite, the rest of its row has no meaning.
void top_k(const Logits& logits, std::int64_t k, std::int32_t* indices, float* confidences,
           float* peaks, cudaStream_t stream);

/// Of each value, 1 / (1 + exp(-x)).
/// @param logits device memory, `count` values of a dtype that can_classify().
/// @param threshold if given, the output is whether the value is at least this.
/// @param output device memory, `count` of float32, or of bool where there is a threshold.
/// @param peaks device memory, of each of pieces_of(count) pieces its maximum, NaN as of softmax().
void sigmoid(const void* logits, tensorrt::DataType dtype, std::int64_t count,
             std::optional<float> threshold, void* output, float* peaks, cudaStream_t stream);

/// Values that sigmoid() takes at a time.
inline constexpr std::int64_t kPiece = 4096;
[[nodiscard]] constexpr std::int64_t pieces_of(std::int64_t count) noexcept {
  return (count + kPiece - 1) / kPiece;
}

}  // namespace trtfast::kernels
