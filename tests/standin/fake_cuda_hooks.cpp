// What the stand-in library calls. It is TensorRT's part, so what a capture forbids is no fault: it
// makes the capture invalid, and the call fails.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>

#include "cuda_hooks.h"
#include "fake_cuda_state.h"
#include "fake_cuda_work.h"

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

namespace {

int hook_device() noexcept {
  const std::scoped_lock lock(state().mutex);
  return state().devices > 0 ? current : -1;
}

void* hook_allocate(std::size_t bytes) noexcept {
  if (const auto captures = forbidding(); !captures.empty()) {
    std::ranges::for_each(captures, invalidate);
    return nullptr;
  }
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
  static_cast<void>(cudaGetLastError());  // TensorRT clears the errors that it handles
  return nullptr;
}

void hook_release(void* memory) noexcept { static_cast<void>(cudaFree(memory)); }

std::size_t hook_room(const void* address) noexcept { return room(address); }

std::uint64_t hook_allocation(const void* address) noexcept { return mapping_of(address); }

void copy_now(void* to, const void* from, std::size_t bytes, const void* device) {
  if (place_of(device, false).room < bytes) {
    fault("a kernel: out of bounds, or of memory that was freed, or is not allocated yet");
    return;
  }
  std::memcpy(to, from, bytes);
}

void hook_read(void* host, const void* device, std::size_t bytes) noexcept {
  copy_now(host, device, bytes, device);
}

void hook_write(void* device, const void* host, std::size_t bytes) noexcept {
  copy_now(device, host, bytes, device);
}

bool hook_launch(void* handle, const standin::StreamWork& work) noexcept {
  const std::shared_ptr<void> owned(work.argument, work.release);
  const auto stream = find_stream(handle);
  if (usable(stream, "a kernel's launch") != cudaSuccess || fails("launch")) return false;
  const Node node{[=] { work.run(owned.get()); },
                  [=](const Mark& end) { work.relaunch(owned.get(), end.stream.get(), end.at); },
                  work.copies};
  return submit(stream, node) == cudaSuccess;
}

std::uint64_t hook_position(void* handle) noexcept {
  const auto stream = find_stream(handle);
  return stream != nullptr ? end_of(stream).at : 0;
}

bool hook_reached(void* handle, std::uint64_t position) noexcept {
  const auto stream = find_stream(handle);
  return stream == nullptr || reached({stream, position, {}});
}

bool hook_ordered(void* handle, std::uint64_t position, void* next) noexcept {
  const auto stream = find_stream(handle);
  const auto follower = find_stream(next);
  return stream == nullptr || (follower != nullptr && ordered({stream, position, {}}, *follower));
}

std::shared_ptr<Capture> capture_of(const std::shared_ptr<Stream>& stream) {
  const std::scoped_lock lock(state().mutex);
  return stream != nullptr ? stream->capture : nullptr;
}

bool hook_capturing(void* handle) noexcept { return capturing(find_stream(handle)); }

bool hook_synchronize(void* handle) noexcept {
  const auto stream = find_stream(handle);
  if (const auto capture = capture_of(stream)) {
    invalidate(capture);
    return false;
  }
  if (stream != nullptr) reach(end_of(stream));
  return true;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const standin::CudaHooks standin_cuda_hooks = {
    hook_device,  hook_allocate,  hook_release,    hook_room,     hook_allocation,
    hook_read,    hook_write,     hook_launch,     hook_position, hook_reached,
    hook_ordered, hook_capturing, hook_synchronize};
