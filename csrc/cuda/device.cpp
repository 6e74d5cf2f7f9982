#include "cuda/device.h"

#include <array>

#include "cuda/check.h"
#include "cuda/fork.h"
#include "error.h"

namespace trtfast::cuda {
namespace {

int attribute(cudaDeviceAttr name, int device) {
  int value = 0;
  TRTFAST_CUDA(cudaDeviceGetAttribute(&value, name, device));
  return value;
}

}  // namespace

Devices devices() {
  check_not_stale();
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    // Here another library has used CUDA before the fork.
    if (forks() > 0 && error == cudaErrorInitializationError) {
      TRTFAST_CUDA(error);
    }
    static_cast<void>(cudaGetLastError());
    return {{}, driver_version() == 0 ? "there is no NVIDIA driver" : cudaGetErrorString(error)};
  }
  note_use();
  Devices found;
  if (count == 0) found.reason = "the driver lists no GPU";
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    TRTFAST_CUDA(cudaGetDeviceProperties(&properties, index));
    found.list.push_back(
        {index, std::to_array(properties.uuid.bytes), properties.name,
         (properties.major * 10) + properties.minor, properties.totalGlobalMem,
         properties.multiProcessorCount, attribute(cudaDevAttrClockRate, index) / 1000,
         attribute(cudaDevAttrMemoryClockRate, index) / 1000, properties.memoryBusWidth});
  }
  return found;
}

Device device(int index) {
  auto found = devices();
  if (index >= 0 && static_cast<std::size_t>(index) < found.list.size()) {
    return found.list[static_cast<std::size_t>(index)];
  }
  if (found.list.empty()) {
    throw UnsupportedDeviceError("no GPU can be used here: " + found.reason +
                                 ". Run `trtfast doctor`, or use trtfast.load() on the ONNX file "
                                 "for the reference engine, which needs none.");
  }
  throw UnsupportedDeviceError("there is no GPU " + std::to_string(index) +
                               ": this machine has 0 to " + std::to_string(found.list.size() - 1));
}

int driver_version() noexcept {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

std::optional<std::size_t> free_memory() noexcept {
  std::size_t free = 0;
  std::size_t total = 0;
  if (cudaMemGetInfo(&free, &total) == cudaSuccess) return free;
  static_cast<void>(cudaGetLastError());
  return std::nullopt;
}

DeviceGuard::DeviceGuard(int device) {
  check_not_stale();
  TRTFAST_CUDA(cudaGetDevice(&previous_));
  note_use();
  TRTFAST_CUDA(cudaSetDevice(device));
}

DeviceGuard::~DeviceGuard() { static_cast<void>(cudaSetDevice(previous_)); }

}  // namespace trtfast::cuda
