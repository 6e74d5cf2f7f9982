// The device memory that the layers of a run pass their results on in.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <mutex>

#include "cuda/event.h"
#include "cuda/memory.h"

namespace trtfast {

/// Who uses one activation memory: a lane alone, or all lanes of an engine, whose runs then take
/// turns on the GPU while their copies still overlap.
enum class Sharing { kLane, kShared };

class Activations {
 public:
  /// @throws OutOfMemoryError
  Activations(std::size_t bytes, Sharing sharing) : sharing_(sharing) { memory_.reserve(bytes); }

  [[nodiscard]] std::byte* data() const noexcept { return memory_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return memory_.size(); }

  /// Has a run submitted to a stream, in turn where the memory is shared.
  template <class Submit>
  void run(cudaStream_t stream, const Submit& submit) {
    if (sharing_ == Sharing::kLane) {
      submit();
      return;
    }
    const std::scoped_lock lock(mutex_);
    last_.hold(stream);
    submit();
    last_.record(stream);
  }

 private:
  Sharing sharing_;
  cuda::DeviceBuffer memory_;
  std::mutex mutex_;
  cuda::Event last_;  // the end of the run before
};

}  // namespace trtfast
