#include "fake_cuda.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cuda_hooks.h"
#include "fake_cuda_state.h"

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

namespace {

constexpr std::align_val_t kAlignment{256};

cudaError_t allocate(void** memory, std::size_t bytes, Space space, const char* function) {
  if (fails(function) || fails("allocation")) return result(cudaErrorMemoryAllocation);
  auto* data = static_cast<std::byte*>(::operator new(bytes, kAlignment));
  std::memset(data, 0xCD, bytes);  // new memory holds nothing of use
  const std::scoped_lock lock(state().mutex);
  state().memory[data] = {bytes, current, space};
  *memory = data;
  return cudaSuccess;
}

cudaError_t release(void* memory, Space space, const char* function) {
  static_cast<void>(fails(function));
  if (memory == nullptr) return cudaSuccess;
  Allocation found{};
  {
    const std::scoped_lock lock(state().mutex);
    const auto it = state().memory.find(static_cast<const std::byte*>(memory));
    if (it != state().memory.end()) found = it->second;
  }
  if (found.size == 0) return fault(std::string(function) + ": not allocated, or freed before");
  if (found.space != space) return fault(std::string(function) + ": memory of the other kind");
  if (space == Space::kDevice && found.device != current) {
    return fault(std::string(function) + ": memory of another GPU than the current one");
  }
  drain_device(found.device);
  {
    const std::scoped_lock lock(state().mutex);
    state().memory.erase(static_cast<const std::byte*>(memory));
  }
  ::operator delete(memory, kAlignment);
  return cudaSuccess;
}

}  // namespace

// The runtime's functions. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  const std::scoped_lock lock(state().mutex);
  *count = state().devices;
  return result(state().devices > 0 ? cudaSuccess : cudaErrorNoDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const std::scoped_lock lock(state().mutex);
  if (device < 0 || device >= state().devices) return result(cudaErrorInvalidDevice);
  *properties = {};
  std::ranges::copy("Fake GPU " + std::to_string(device), properties->name);
  properties->major = state().capability / 10;
  properties->minor = state().capability % 10;
  properties->totalGlobalMem = std::size_t{1} << 30U;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
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

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::scoped_lock lock(state().mutex);
  *total = std::size_t{1} << 30U;
  *free = *total;
  for (const auto& [data, allocation] : state().memory) *free -= allocation.size;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  return allocate(memory, bytes, Space::kDevice, "cudaMalloc");
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  return allocate(memory, bytes, Space::kPinned, "cudaMallocHost");
}

cudaError_t cudaFree(void* memory) { return release(memory, Space::kDevice, "cudaFree"); }
cudaError_t cudaFreeHost(void* memory) { return release(memory, Space::kPinned, "cudaFreeHost"); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* handle, unsigned int) {
  if (fails("cudaStreamCreateWithFlags")) return result(cudaErrorLaunchFailure);
  const auto stream = std::make_shared<Stream>();
  stream->device = current;
  const std::scoped_lock lock(state().mutex);
  *handle = reinterpret_cast<cudaStream_t>(stream.get());
  state().streams[stream.get()] = stream;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaStreamDestroy"); error != cudaSuccess) return error;
  drain(*stream);
  const std::scoped_lock lock(state().mutex);
  state().streams.erase(handle);
  state().destroyed.push_back(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const auto stream = find_stream(handle);
  const auto error = usable(stream, "cudaStreamSynchronize");
  if (error != cudaSuccess) return error;
  drain(*stream);
  return result(fails("cudaStreamSynchronize") ? cudaErrorLaunchFailure : cudaSuccess);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle) {
  const auto stream = find_stream(handle);
  const auto error = usable(stream, "cudaMemcpyAsync");
  if (error != cudaSuccess) return error;
  if (fails("cudaMemcpyAsync")) return result(cudaErrorLaunchFailure);
  if (bytes == 0) return cudaSuccess;
  const bool to_device = kind == cudaMemcpyHostToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost;
  if ((to_device && room(to) < bytes) || (from_device && room(from) < bytes)) {
    return fault("cudaMemcpyAsync: out of the device memory's bounds");
  }
  const bool to_pageable = from_device && room(to) == 0;
  if (to_device && room(from) == 0) {  // pageable memory is read before the call returns
    const auto* first = static_cast<const std::byte*>(from);
    const auto staged = std::make_shared<std::vector<std::byte>>(first, first + bytes);
    submit(*stream, [=] { copy_now(to, staged->data(), bytes, true, false); });
  } else {
    submit(*stream, [=] { copy_now(to, from, bytes, !to_pageable, true); });
    if (to_pageable) drain(*stream);  // and is written before it returns
  }
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "cudaSuccess";
    case cudaErrorInvalidValue: return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    case cudaErrorNoDevice: return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice: return "cudaErrorInvalidDevice";
    case cudaErrorLaunchFailure: return "cudaErrorLaunchFailure";
    default: return "cudaErrorUnknown";
  }
}

const char* cudaGetErrorString(cudaError_t error) { return cudaGetErrorName(error); }

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

// What the stand-in library calls.

namespace {

int hook_device() noexcept {
  const std::scoped_lock lock(state().mutex);
  return state().devices > 0 ? current : -1;
}

void* hook_allocate(std::size_t bytes) noexcept {
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
  static_cast<void>(cudaGetLastError());  // TensorRT clears the errors that it handles
  return nullptr;
}

void hook_release(void* memory) noexcept { static_cast<void>(cudaFree(memory)); }

void hook_read(void* host, const void* device, std::size_t bytes) noexcept {
  copy_now(host, device, bytes, false, true);
}

void hook_write(void* device, const void* host, std::size_t bytes) noexcept {
  copy_now(device, host, bytes, true, false);
}

bool hook_launch(void* handle, void (*work)(void*) noexcept, void* argument) noexcept {
  const auto stream = find_stream(handle);
  if (usable(stream, "a kernel's launch") != cudaSuccess || fails("launch")) return false;
  submit(*stream, [=] { work(argument); });
  return true;
}

bool hook_idle(void* handle) noexcept {
  const auto stream = find_stream(handle);
  if (stream == nullptr) return true;
  const std::scoped_lock lock(stream->mutex);
  return stream->queue.empty();
}

void hook_synchronize(void* handle) noexcept {
  if (const auto stream = find_stream(handle)) drain(*stream);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const standin::CudaHooks standin_cuda_hooks = {
    hook_device, hook_allocate, hook_release,    room, hook_read, hook_write,
    hook_launch, hook_idle,     hook_synchronize};
