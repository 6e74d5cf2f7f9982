// The fake's events.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "fake_cuda_state.h"
#include "fake_cuda_work.h"

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

namespace {

constexpr unsigned kKnownFlags = cudaEventBlockingSync | cudaEventDisableTiming;

std::shared_ptr<Event> find_event(cudaEvent_t handle, const char* function) {
  auto event = find(state().events, handle);
  if (event == nullptr) fault(std::string(function) + ": no such event, or destroyed");
  return event;
}

/// What an event stands for now. It is copied, since another thread may record the event again.
struct Recorded {
  std::shared_ptr<Mark> mark;
  std::shared_ptr<Capture> capture;
  Clock clock;
};

Recorded recorded(const Event& event) {
  const std::scoped_lock lock(state().mutex);
  return {event.mark, event.capture, event.clock};
}

cudaError_t refuse_captured(const Recorded& event, const char* function) {
  if (event.capture == nullptr) return cudaSuccess;
  invalidate(event.capture);
  return fault(std::string(function) + ": the event was recorded in a capture",
               cudaErrorCapturedEvent);
}

/// What must hold before a call that waits for an event, or asks how far it is.
cudaError_t may_wait(const Recorded& event, const char* function) {
  if (const auto error = refuse_captured(event, function); error != cudaSuccess) return error;
  return check_safe(function);
}

cudaError_t record_in_capture(const std::shared_ptr<Stream>& stream, Event& event) {
  const std::scoped_lock lock(state().mutex);
  if (!stream->capture->valid) return result(cudaErrorStreamCaptureInvalidated);
  event.mark = nullptr;
  event.capture = stream->capture;
  event.clock = stream->capture->streams[stream.get()];
  return cudaSuccess;
}

cudaError_t record(const std::shared_ptr<Stream>& stream, Event& event) {
  const auto mark = std::make_shared<Mark>(Mark{stream, 0, {}});
  {
    const std::scoped_lock lock(state().mutex);
    if (stream->capture == nullptr) {
      stream->queue.push_back({[mark] { mark->time = std::chrono::steady_clock::now(); }, nullptr});
      mark->at = ++stream->submitted;
      event.mark = mark;
      event.capture = nullptr;
      event.clock.clear();
      if (state().late) return cudaSuccess;
    }
  }
  if (mark->at == 0) return record_in_capture(stream, event);
  reach(*mark);
  return cudaSuccess;
}

/// Has a stream wait for an event of a capture, which takes the stream into that capture.
cudaError_t join(const std::shared_ptr<Stream>& stream, const Recorded& event) {
  const char* text = "cudaStreamWaitEvent: the event's capture is over";
  auto error = cudaErrorCapturedEvent;
  {
    const std::scoped_lock lock(state().mutex);
    if (!event.capture->over) {
      if (!event.capture->valid) return result(cudaErrorStreamCaptureInvalidated);
      if (stream->capture == nullptr) stream->capture = event.capture;
      if (stream->capture == event.capture) {
        Clock& clock = event.capture->streams[stream.get()];
        for (const auto& [other, at] : event.clock) clock[other] = std::max(clock[other], at);
        return cudaSuccess;
      }
      text = "cudaStreamWaitEvent: it would merge two captures";
      error = cudaErrorStreamCaptureMerge;
    }
  }
  invalidate(event.capture);
  invalidate(stream->capture);
  return fault(text, error);
}

}  // namespace

// The runtime's functions. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned int flags) {
  if (const auto error = check_caller("cudaEventCreateWithFlags"); error != cudaSuccess) {
    return error;
  }
  if (fails("cudaEventCreateWithFlags")) return result(cudaErrorLaunchFailure);
  if ((flags & ~kKnownFlags) != 0) return fault("cudaEventCreateWithFlags: unknown flags");
  const auto event = std::make_shared<Event>();
  event->device = current;
  event->flags = flags;
  *handle = open<cudaEvent_t>(state().events, event);
  return cudaSuccess;
}

// What waits for it goes on waiting.
cudaError_t cudaEventDestroy(cudaEvent_t handle) {
  return close(state().events, handle, "cudaEventDestroy");
}

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t stream_handle) {
  const auto stream = find_stream(stream_handle);
  if (const auto error = usable(stream, "cudaEventRecord"); error != cudaSuccess) return error;
  const auto event = find_event(handle, "cudaEventRecord");
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  if (fails("cudaEventRecord")) return result(cudaErrorLaunchFailure);
  if (event->device != stream->device) {
    return fault("cudaEventRecord: an event of another GPU than the stream",
                 cudaErrorInvalidResourceHandle);
  }
  return record(stream, *event);
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  const auto event = find_event(handle, "cudaEventQuery");
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  const auto now = recorded(*event);
  if (const auto error = may_wait(now, "cudaEventQuery"); error != cudaSuccess) return error;
  if (fails("cudaEventQuery")) return result(cudaErrorLaunchFailure);
  // Not an error, so cudaGetLastError() does not report it.
  return now.mark == nullptr || query(*now.mark) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  const auto event = find_event(handle, "cudaEventSynchronize");
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  const auto now = recorded(*event);
  if (const auto error = may_wait(now, "cudaEventSynchronize"); error != cudaSuccess) return error;
  if (now.mark != nullptr) reach(*now.mark);
  return result(fails("cudaEventSynchronize") ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  const auto first = find_event(start, "cudaEventElapsedTime");
  const auto last = find_event(end, "cudaEventElapsedTime");
  if (first == nullptr || last == nullptr) return cudaErrorInvalidResourceHandle;
  const auto from = recorded(*first);
  const auto to = recorded(*last);
  for (const auto& event : {from, to}) {
    const auto error = refuse_captured(event, "cudaEventElapsedTime");
    if (error != cudaSuccess) return error;
  }
  if (((first->flags | last->flags) & cudaEventDisableTiming) != 0 || !from.mark || !to.mark) {
    return fault("cudaEventElapsedTime: an event without timing, or that was never recorded",
                 cudaErrorInvalidResourceHandle);
  }
  if (!reached(*from.mark) || !reached(*to.mark)) return cudaErrorNotReady;
  const std::chrono::duration<float, std::milli> elapsed = to.mark->time - from.mark->time;
  *milliseconds = elapsed.count();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream_handle, cudaEvent_t handle,
                                unsigned int flags) {
  const auto stream = find_stream(stream_handle);
  if (const auto error = usable(stream, "cudaStreamWaitEvent"); error != cudaSuccess) return error;
  const auto event = find_event(handle, "cudaStreamWaitEvent");
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  if (fails("cudaStreamWaitEvent")) return result(cudaErrorLaunchFailure);
  if (flags != cudaEventWaitDefault) return fault("cudaStreamWaitEvent: unknown flags");
  const auto now = recorded(*event);
  if (now.capture != nullptr) return join(stream, now);
  if (now.mark == nullptr) return cudaSuccess;  // never recorded: nothing to wait for
  std::shared_ptr<Capture> capture;
  {
    const std::scoped_lock lock(state().mutex);
    capture = stream->capture;
  }
  if (capture != nullptr) {
    invalidate(capture);
    return fault("cudaStreamWaitEvent: in a capture, for an event outside of it",
                 cudaErrorStreamCaptureIsolation);
  }
  wait_for(stream, now.mark);
  return cudaSuccess;
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
