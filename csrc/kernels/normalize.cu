#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/check.h"
#include "kernels/normalize.h"

namespace trtfast::kernels {
namespace {

constexpr int kThreads = 256;

// A thread takes one pixel: its three reads share cache lines with its neighbours', and each of its
// three writes is coalesced with theirs.
template <class T>
__global__ void normalize_kernel(const std::uint8_t* __restrict__ images, std::int64_t pixels,
                                 const float* __restrict__ table, T* __restrict__ output) {
  __shared__ float values[kTableSize];
  for (int entry = static_cast<int>(threadIdx.x); entry < static_cast<int>(kTableSize);
       entry += kThreads) {
    values[entry] = table[entry];
  }
  __syncthreads();

  const std::int64_t pixel = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= pixels) return;
  const std::int64_t image = blockIdx.y;
  const std::uint8_t* source = images + (image * pixels + pixel) * 3;
  T* target = output + image * 3 * pixels + pixel;
  for (int channel = 0; channel < 3; ++channel) {
    target[channel * pixels] = static_cast<T>(values[channel * 256 + source[channel]]);
  }
}

template <class T>
void launch(const std::uint8_t* images, std::int64_t count, std::int64_t pixels, const float* table,
            void* output, cudaStream_t stream) {
  constexpr std::int64_t kMostImages = 65535;  // a grid's largest y
  const auto blocks = static_cast<unsigned>((pixels + kThreads - 1) / kThreads);
  for (std::int64_t first = 0; first < count; first += kMostImages) {
    const std::int64_t images_now = count - first < kMostImages ? count - first : kMostImages;
    normalize_kernel<T><<<dim3(blocks, static_cast<unsigned>(images_now)), kThreads, 0, stream>>>(
        images + first * pixels * 3, pixels, table, static_cast<T*>(output) + first * pixels * 3);
    TRTFAST_CUDA(cudaGetLastError());
  }
}

}  // namespace

bool can_normalize_to(tensorrt::DataType dtype) noexcept {
  using tensorrt::DataType;
  return dtype == DataType::kFloat || dtype == DataType::kHalf || dtype == DataType::kBf16;
}

void normalize(const std::uint8_t* images, std::int64_t count, std::int64_t pixels,
               const float* table, void* output, tensorrt::DataType dtype, cudaStream_t stream) {
  if (count == 0 || pixels == 0) return;
  switch (dtype) {
    case tensorrt::DataType::kHalf:
      launch<__half>(images, count, pixels, table, output, stream);
      break;
    case tensorrt::DataType::kBf16:
      launch<__nv_bfloat16>(images, count, pixels, table, output, stream);
      break;
    default: launch<float>(images, count, pixels, table, output, stream);
  }
}

}  // namespace trtfast::kernels
