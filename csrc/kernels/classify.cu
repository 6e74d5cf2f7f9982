#include "kernels/classify.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/check.h"
#include "kernels/classify_row.h"

namespace trtfast::kernels {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 16;
constexpr int kThreads = kWarps * kWarp;

/// The threads of a block of CUDA's.
struct CudaBlock {
  __device__ int thread() const { return static_cast<int>(threadIdx.x); }
  __device__ int threads() const { return kThreads; }
  __device__ std::uint64_t largest(std::uint64_t value) const {
    return joined(value,
                  [](std::uint64_t one, std::uint64_t other) { return one > other ? one : other; });
  }
  __device__ float sum(float value) const {
    return joined(value, [](float one, float other) { return one + other; });
  }

 private:
  /// Each warp joins its own, then each thread all warps', in the same order and so to the same
  /// bits.
  template <class T, class Join>
  __device__ T joined(T value, const Join& join) const {
    __shared__ T of_warps[kWarps];
    for (int distance = kWarp / 2; distance > 0; distance /= 2) {
      value = join(value, __shfl_down_sync(0xFFFFFFFFU, value, distance));
    }
    if (thread() % kWarp == 0) of_warps[thread() / kWarp] = value;
    __syncthreads();
    value = of_warps[0];
    for (int warp = 1; warp < kWarps; ++warp) value = join(value, of_warps[warp]);
    __syncthreads();  // all have read it before it is written again
    return value;
  }
};

template <class T>
__global__ void softmax_kernel(const T* __restrict__ logits, std::int64_t rows,
                               std::int64_t classes, float* __restrict__ probabilities,
                               float* __restrict__ peaks) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    softmax_row(logits + row * classes, classes, probabilities + row * classes, peaks + row,
                CudaBlock{});
  }
}

template <class T>
__global__ void top_k_kernel(const T* __restrict__ logits, std::int64_t rows, std::int64_t classes,
                             std::int64_t k, std::int32_t* __restrict__ indices,
                             float* __restrict__ confidences, float* __restrict__ peaks) {
  for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    top_k_row(logits + row * classes, classes, k, indices + row * k, confidences + row * k,
              peaks + row, CudaBlock{});
  }
}

template <class T, class Out>
__global__ void sigmoid_kernel(const T* __restrict__ logits, std::int64_t count, float threshold,
                               Out* __restrict__ output, float* __restrict__ peaks) {
  for (std::int64_t first = blockIdx.x * kPiece; first < count; first += gridDim.x * kPiece) {
    const std::int64_t left = count - first;
    sigmoid_piece(logits + first, left < kPiece ? left : kPiece, threshold, output + first,
                  peaks + first / kPiece, CudaBlock{});
  }
}

/// A block for each row, within what a GPU runs at a time many times over.
unsigned blocks_for(std::int64_t rows) {
  constexpr std::int64_t kMost = 65535;
  return static_cast<unsigned>(rows < kMost ? rows : kMost);
}

/// Calls `launch` with the logits in their own type.
template <class Launch>
void with_type(const void* logits, tensorrt::DataType dtype, const Launch& launch) {
  switch (dtype) {
    case tensorrt::DataType::kHalf: launch(static_cast<const __half*>(logits)); break;
    case tensorrt::DataType::kBf16: launch(static_cast<const __nv_bfloat16*>(logits)); break;
    default: launch(static_cast<const float*>(logits));
  }
  TRTFAST_CUDA(cudaGetLastError());
}

}  // namespace

bool can_classify(tensorrt::DataType dtype) noexcept {
  using tensorrt::DataType;
  return dtype == DataType::kFloat || dtype == DataType::kHalf || dtype == DataType::kBf16;
}

void softmax(const Logits& logits, float* probabilities, float* peaks, cudaStream_t stream) {
  if (logits.rows == 0) return;
  with_type(logits.data, logits.dtype, [&](const auto* data) {
    softmax_kernel<<<blocks_for(logits.rows), kThreads, 0, stream>>>(
        data, logits.rows, logits.classes, probabilities, peaks);
  });
}

void top_k(const Logits& logits, std::int64_t k, std::int32_t* indices, float* confidences,
           float* peaks, cudaStream_t stream) {
  if (logits.rows == 0) return;
  with_type(logits.data, logits.dtype, [&](const auto* data) {
    top_k_kernel<<<blocks_for(logits.rows), kThreads, 0, stream>>>(
        data, logits.rows, logits.classes, k, indices, confidences, peaks);
  });
}

void sigmoid(const void* logits, tensorrt::DataType dtype, std::int64_t count,
             std::optional<float> threshold, void* output, float* peaks, cudaStream_t stream) {
  if (count == 0) return;
  const unsigned blocks = blocks_for(pieces_of(count));
  with_type(logits, dtype, [&](const auto* data) {
    if (threshold) {
      sigmoid_kernel<<<blocks, kThreads, 0, stream>>>(data, count, *threshold,
                                                      static_cast<bool*>(output), peaks);
    } else {
      sigmoid_kernel<<<blocks, kThreads, 0, stream>>>(data, count, 0.0F,
                                                      static_cast<float*>(output), peaks);
    }
  });
}

}  // namespace trtfast::kernels
