#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/check.h"
#include "kernels/stretch.h"

namespace trtfast::kernels {
namespace {

constexpr int kThreads = 256;  // one for each value of a pixel, too

__global__ void __launch_bounds__(kThreads)
    find_extremes(const std::uint8_t* __restrict__ pixels, std::size_t values,
                  std::int32_t* __restrict__ extremes) {
  const std::size_t image = blockIdx.y;
  int least = 255;
  int most = 0;
  for (std::size_t index = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
       index < values; index += static_cast<std::size_t>(gridDim.x) * kThreads) {
    const int value = pixels[image * values + index];
    least = min(least, value);
    most = max(most, value);
  }
  for (int step = 16; step > 0; step /= 2) {
    least = min(least, __shfl_xor_sync(0xffffffffU, least, step));
    most = max(most, __shfl_xor_sync(0xffffffffU, most, step));
  }
  if (threadIdx.x % 32 == 0) {
    atomicMin(&extremes[2 * image], least);
    atomicMax(&extremes[2 * image + 1], most);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    stretch_kernel(const std::uint8_t* __restrict__ pixels, std::size_t values,
                   const std::int32_t* __restrict__ extremes, T* __restrict__ output) {
  __shared__ float table[256];
  const std::size_t image = blockIdx.y;
  const int least = extremes[2 * image];
  const int most = extremes[2 * image + 1];
  // As albumentations does: in float64, with its epsilon.
  const auto value = static_cast<double>(static_cast<int>(threadIdx.x) - least);
  table[threadIdx.x] = static_cast<float>(value / (static_cast<double>(most - least) + 1e-4));
  __syncthreads();
  for (std::size_t index = static_cast<std::size_t>(blockIdx.x) * kThreads + threadIdx.x;
       index < values; index += static_cast<std::size_t>(gridDim.x) * kThreads) {
    output[image * values + index] = static_cast<T>(table[pixels[image * values + index]]);
  }
}

__global__ void forget_extremes(std::int32_t* extremes, std::int64_t count) {
  const std::int64_t image = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (image >= count) return;
  extremes[2 * image] = 255;
  extremes[2 * image + 1] = 0;
}

template <class T>
void launch(std::int64_t count, std::size_t values, const Scratch& scratch, T* output,
            cudaStream_t stream) {
  constexpr std::int64_t kMostImages = 65535;  // a grid's largest y
  constexpr std::size_t kMostBlocks = 256;     // for an image
  const std::size_t wanted = (values + 8 * kThreads - 1) / (8 * kThreads);
  const auto blocks = static_cast<unsigned>(wanted < kMostBlocks ? wanted : kMostBlocks);
  for (std::int64_t first = 0; first < count; first += kMostImages) {
    const auto now =
        static_cast<unsigned>(count - first < kMostImages ? count - first : kMostImages);
    const dim3 grid(blocks, now);
    const auto* pixels = scratch.pixels + first * values;
    auto* extremes = scratch.extremes + 2 * first;
    forget_extremes<<<(now + kThreads - 1) / kThreads, kThreads, 0, stream>>>(extremes, now);
    find_extremes<<<grid, kThreads, 0, stream>>>(pixels, values, extremes);
    stretch_kernel<T>
        <<<grid, kThreads, 0, stream>>>(pixels, values, extremes, output + first * values);
    TRTFAST_CUDA(cudaGetLastError());
  }
}

}  // namespace

void stretch(std::int64_t count, std::size_t values, const Scratch& scratch, void* output,
             tensorrt::DataType dtype, cudaStream_t stream) {
  switch (dtype) {
    case tensorrt::DataType::kHalf:
      launch(count, values, scratch, static_cast<__half*>(output), stream);
      break;
    case tensorrt::DataType::kBf16:
      launch(count, values, scratch, static_cast<__nv_bfloat16*>(output), stream);
      break;
    default: launch(count, values, scratch, static_cast<float*>(output), stream);
  }
}

}  // namespace trtfast::kernels
