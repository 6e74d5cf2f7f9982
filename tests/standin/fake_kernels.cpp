// The core's kernels on the CPU, in the order of the fake's streams. Their own tests are elsewhere;
// here they stand in the place of the ones that need a GPU.
#include <cstddef>

#include "cuda/check.h"
#include "fake_cuda_state.h"
#include "fake_cuda_work.h"
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
  const auto values = static_cast<std::size_t>(count * pixels) * 3;
  const auto from = fake_cuda::range_of(images, values);
  const auto to = fake_cuda::range_of(output, values * sizeof(float));
  const auto by = fake_cuda::range_of(table, kTableSize * sizeof(float));
  const auto reaches = [](const fake_cuda::Range& range) {
    return range.on_device() && range.inside;
  };
  TRTFAST_CUDA(fake_cuda::submit(queue, [=] {
    const bool all = reaches(from) && reaches(to) && reaches(by);
    if (!all || !intact(from) || !intact(to) || !intact(by)) {
      fake_cuda::fault("kernels::normalize: out of bounds, or of memory that was freed");
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
  }));
}

}  // namespace trtfast::kernels
