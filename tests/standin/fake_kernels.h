// How the core's kernels run on the CPU, in the order of the fake's streams: with the arithmetic
// that the real ones have, so that what they make can be tested where there is no GPU.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cuda/check.h"
#include "fake_cuda_state.h"
#include "fake_cuda_work.h"
#include "tensorrt/types.h"

namespace trtfast::kernels {

/// Submits a kernel that reads and writes these ranges of device memory.
template <class Kernel>
void launch(const std::string& name, cudaStream_t stream, std::vector<fake_cuda::Range> ranges,
            Kernel kernel) {
  const auto queue = fake_cuda::find_stream(stream);
  TRTFAST_CUDA(fake_cuda::usable(queue, name.c_str()));
  TRTFAST_CUDA(fake_cuda::submit(queue, [name, ranges = std::move(ranges), kernel] {
    const bool all = std::ranges::all_of(ranges, [](const fake_cuda::Range& range) {
      return range.on_device() && range.inside && intact(range);
    });
    if (all) {
      kernel();
    } else {
      fake_cuda::fault(name + ": out of bounds, or of memory that was freed");
    }
  }));
}

template <class T>
fake_cuda::Range range_of(const T* data, std::int64_t count) {
  return fake_cuda::range_of(data, static_cast<std::size_t>(count) * sizeof(T));
}

inline fake_cuda::Range range_of(const void* data, tensorrt::DataType dtype, std::int64_t count) {
  return fake_cuda::range_of(data, static_cast<std::size_t>(count) * tensorrt::item_size(dtype));
}

}  // namespace trtfast::kernels
