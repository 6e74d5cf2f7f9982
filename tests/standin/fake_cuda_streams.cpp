// The fake's streams.
#include <cuda_runtime_api.h>

#include <memory>

#include "fake_cuda_state.h"
#include "fake_cuda_work.h"

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

namespace {

/// What must hold before a call that waits for a stream, or asks how far it is.
cudaError_t may_wait(const std::shared_ptr<Stream>& stream, const char* function) {
  if (const auto error = usable(stream, function); error != cudaSuccess) return error;
  if (const auto error = not_in_capture(stream, function); error != cudaSuccess) return error;
  return check_safe(function);
}

}  // namespace

// The runtime's functions. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned int flags) {
  if (const auto error = check_caller("cudaStreamCreateWithFlags"); error != cudaSuccess) {
    return error;
  }
  if (fails("cudaStreamCreateWithFlags")) return result(cudaErrorLaunchFailure);
  // A stream of the other kind waits for the null stream, which the fake does not have.
  if (flags != cudaStreamNonBlocking) {
    return fault("cudaStreamCreateWithFlags: only streams that do not block are known here");
  }
  const auto stream = std::make_shared<Stream>();
  stream->device = current;
  *handle = open<cudaStream_t>(state().streams, stream);
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaStreamDestroy"); error != cudaSuccess) return error;
  if (const auto error = not_in_capture(stream, "cudaStreamDestroy"); error != cudaSuccess) {
    return error;
  }
  reach(end_of(stream));
  return close(state().streams, handle, "cudaStreamDestroy");
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  const auto stream = find_stream(handle);
  if (stream == nullptr) return fault("cudaStreamGetDevice: no such stream, or destroyed");
  *device = stream->device;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (const auto error = may_wait(stream, "cudaStreamSynchronize"); error != cudaSuccess) {
    return error;
  }
  reach(end_of(stream));
  return result(fails("cudaStreamSynchronize") ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (const auto error = may_wait(stream, "cudaStreamQuery"); error != cudaSuccess) return error;
  if (fails("cudaStreamQuery")) return result(cudaErrorLaunchFailure);
  // Not an error, so cudaGetLastError() does not report it.
  return query(end_of(stream)) ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* argument) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaLaunchHostFunc"); error != cudaSuccess) return error;
  if (fails("cudaLaunchHostFunc")) return result(cudaErrorLaunchFailure);
  if (function == nullptr) return fault("cudaLaunchHostFunc: no function");
  return submit(stream, [=] {
    in_host_function = true;
    function(argument);
    in_host_function = false;
  });
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
