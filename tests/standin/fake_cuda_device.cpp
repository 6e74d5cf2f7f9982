// The fake's GPUs, and its errors.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <string>
#include <utility>

#include "fake_cuda_state.h"
#include "fake_cuda_work.h"

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

// The runtime's functions. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  if (const auto error = start(); error != cudaSuccess) return error;
  const std::scoped_lock lock(state().mutex);
  *count = state().devices;
  return result(state().devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const std::scoped_lock lock(state().mutex);
  if (device < 0 || device >= state().devices) return result(cudaErrorInvalidDevice);
  *properties = {};
  std::ranges::copy("Fake GPU " + std::to_string(device), properties->name);
  std::ranges::fill(properties->uuid.bytes, static_cast<char>(0xf0 + device));
  properties->major = state().capability / 10;
  properties->minor = state().capability % 10;
  properties->totalGlobalMem = std::size_t{1} << 30U;
  properties->multiProcessorCount = 64;
  properties->memoryBusWidth = 256;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  const std::scoped_lock lock(state().mutex);
  if (device < 0 || device >= state().devices) return result(cudaErrorInvalidDevice);
  if (attribute == cudaDevAttrClockRate) {
    *value = 2'000'000;
  } else if (attribute == cudaDevAttrMemoryClockRate) {
    *value = 10'000'000;
  } else {
    return result(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  if (const auto error = start(); error != cudaSuccess) return error;
  const std::scoped_lock lock(state().mutex);
  *device = current;
  return result(state().devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device) {
  const std::scoped_lock lock(state().mutex);
  if (device < 0 || device >= state().devices) return result(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  if (const auto error = check_safe("cudaDeviceSynchronize"); error != cudaSuccess) return error;
  std::vector<std::shared_ptr<Capture>> captures;
  {
    const std::scoped_lock lock(state().mutex);
    for (const auto& [handle, stream] : state().streams) {
      if (stream->device == current && stream->capture) captures.push_back(stream->capture);
    }
  }
  if (!captures.empty()) {
    std::ranges::for_each(captures, invalidate);
    return fault("cudaDeviceSynchronize: not permitted while a stream of the GPU is captured",
                 cudaErrorStreamCaptureUnsupported);
  }
  drain_device(current);
  return result(fails("cudaDeviceSynchronize") ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorInitializationError: return "cudaErrorInitializationError";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle: return "cudaErrorInvalidResourceHandle";
    case cudaErrorIllegalState: return "cudaErrorIllegalState";
    case cudaErrorNotReady: return "cudaErrorNotReady";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    case cudaErrorNotPermitted: return "cudaErrorNotPermitted";
    case cudaErrorNotSupported: return "cudaErrorNotSupported";
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorStreamCaptureInvalidated: return "cudaErrorStreamCaptureInvalidated";
    case cudaErrorStreamCaptureMerge: return "cudaErrorStreamCaptureMerge";
    case cudaErrorStreamCaptureUnmatched: return "cudaErrorStreamCaptureUnmatched";
    case cudaErrorStreamCaptureUnjoined: return "cudaErrorStreamCaptureUnjoined";
    case cudaErrorStreamCaptureIsolation: return "cudaErrorStreamCaptureIsolation";
    case cudaErrorCapturedEvent: return "cudaErrorCapturedEvent";
    case cudaErrorStreamCaptureWrongThread: return "cudaErrorStreamCaptureWrongThread";
    default: return "cudaErrorUnknown";
  }
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
