// The core's kernels on the CPU, in the order of the fake's streams. Their own tests are elsewhere;
// here they stand in the place of the ones that need a GPU.
#include <cstddef>

#include "cuda/check.h"
#include "fake_cuda_state.h"
#include "kernels/normalize.h"

namespace trtfast::kernels {

bool can_normalize_to(tensorrt::DataType dtype) noexcept {
  return dtype == tensorrt::DataType::kFloat;
}

void normalize(const std::uint8_t* images, std::int64_t count, std::int64_t pixels,
               const float* table, void* output, tensorrt::DataType /*dtype*/,
               cudaStream_t stream) {
  const auto queue = fake_cuda::find_stream(stream);
  TRTFAST_CUDA(fake_cuda::usable(queue, "kernels::normalize"));
  fake_cuda::submit(*queue, [=] {
    const auto values = static_cast<std::size_t>(count * pixels) * 3;
    if (fake_cuda::room(images) < values || fake_cuda::room(output) < values * sizeof(float) ||
        fake_cuda::room(table) < kTableSize * sizeof(float)) {
      fake_cuda::fault("kernels::normalize: out of bounds");
      return;
    }
    for (std::int64_t at = 0; at < count * pixels; ++at) {
      for (std::int64_t channel = 0; channel < 3; ++channel) {
        const std::int64_t image = at / pixels;
        const std::int64_t target = (((image * 3) + channel) * pixels) + (at % pixels);
        const std::uint8_t value = images[(at * 3) + channel];
        static_cast<float*>(output)[target] = table[(channel * 256) + value];
      }
    }
  });
}

}  // namespace trtfast::kernels
