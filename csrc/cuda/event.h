// A point in a stream that others wait for.
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "cuda/check.h"

namespace trtfast::cuda {

/// How a thread waits for the GPU: by looking again and again, which is quickest and takes a core,
/// or asleep, which takes some 50 to 100 microseconds longer.
enum class Wait { kSpin, kBlock };

class Event {
 public:
  explicit Event(Wait wait = Wait::kSpin) {
    const unsigned how = wait == Wait::kBlock ? cudaEventBlockingSync : cudaEventDefault;
    TRTFAST_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming | how));
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event(const Event&) = delete;  // one owner destroys the event
  Event& operator=(const Event&) = delete;
  Event& operator=(Event&&) = delete;
  ~Event() {
    // A driver that is already unloading at the process's end refuses; that is no one's concern.
    if (event_ != nullptr) static_cast<void>(cudaEventDestroy(event_));
  }

  [[nodiscard]] cudaEvent_t get() const noexcept { return event_; }
  void record(cudaStream_t stream) const { TRTFAST_CUDA(cudaEventRecord(event_, stream)); }
  void synchronize() const { TRTFAST_CUDA(cudaEventSynchronize(event_)); }
  /// Makes a stream wait for what was recorded, without making the thread wait.
  void hold(cudaStream_t stream) const { TRTFAST_CUDA(cudaStreamWaitEvent(stream, event_, 0)); }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace trtfast::cuda
