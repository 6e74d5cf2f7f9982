// What the Python tests ask of the fake CUDA runtime, through ctypes.
#include <cuda_runtime_api.h>

#include <cstddef>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "cuda/device.h"
#include "fake_cuda.h"

#define STANDIN_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

/// A stream that stands still, and with it each run that has to wait for it.
struct Gate {
  cudaStream_t stream = nullptr;
  std::promise<void> reached;
  std::promise<void> opened;
};

// The text lives until it is asked again, by one thread at a time.
const char* kept(std::string text) {
  static auto* last = new std::string;
  *last = std::move(text);
  return last->c_str();
}

}  // namespace

STANDIN_EXPORT const char* fake_cuda_faults() noexcept { return kept(fake_cuda::faults()); }
STANDIN_EXPORT void fake_cuda_forget_faults() noexcept { fake_cuda::forget_faults(); }
STANDIN_EXPORT void fake_cuda_keep() noexcept { fake_cuda::keep(); }
STANDIN_EXPORT const char* fake_cuda_leaks() noexcept { return kept(fake_cuda::leaks()); }
STANDIN_EXPORT void fake_cuda_set_late(bool late) noexcept { fake_cuda::set_late(late); }
STANDIN_EXPORT void fake_cuda_fail(const char* function, int nth) noexcept {
  fake_cuda::fail(function, nth);
}

STANDIN_EXPORT int fake_cuda_current_device() noexcept {
  int device = -1;
  return cudaGetDevice(&device) == cudaSuccess ? device : -1;
}

/// Memory of a GPU.
STANDIN_EXPORT void* fake_cuda_allocate(int device, std::size_t bytes) noexcept {
  const trtfast::cuda::DeviceGuard guard(device);
  void* memory = nullptr;
  return cudaMalloc(&memory, bytes) == cudaSuccess ? memory : nullptr;
}
STANDIN_EXPORT void fake_cuda_free(int device, void* memory) noexcept {
  const trtfast::cuda::DeviceGuard guard(device);
  static_cast<void>(cudaFree(memory));
}

/// A stream of the caller's, on the current GPU.
STANDIN_EXPORT void* fake_cuda_open_stream() noexcept {
  cudaStream_t stream = nullptr;
  return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess ? stream
                                                                                  : nullptr;
}
STANDIN_EXPORT void fake_cuda_wait_for_stream(void* stream) noexcept {
  static_cast<void>(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)));
}
STANDIN_EXPORT void fake_cuda_close_stream(void* stream) noexcept {
  static_cast<void>(cudaStreamDestroy(static_cast<cudaStream_t>(stream)));
}

/// The fake's work has to be late, or the caller would stand still.
STANDIN_EXPORT Gate* fake_cuda_shut_gate() noexcept {
  auto gate = std::make_unique<Gate>();
  const auto hold_back = [](void* argument) {
    auto* held = static_cast<Gate*>(argument);
    held->reached.set_value();
    held->opened.get_future().wait();
  };
  if (cudaStreamCreateWithFlags(&gate->stream, cudaStreamNonBlocking) != cudaSuccess ||
      cudaLaunchHostFunc(gate->stream, hold_back, gate.get()) != cudaSuccess) {
    return nullptr;
  }
  return gate.release();
}
STANDIN_EXPORT void* fake_cuda_gate_stream(const Gate* gate) noexcept { return gate->stream; }
/// Returns once a run is held back.
STANDIN_EXPORT void fake_cuda_wait_for_gate(Gate* gate) noexcept {
  gate->reached.get_future().wait();
}
STANDIN_EXPORT void fake_cuda_open_gate(Gate* gate) noexcept {
  gate->opened.set_value();
  static_cast<void>(cudaStreamSynchronize(gate->stream));
  static_cast<void>(cudaStreamDestroy(gate->stream));
  delete gate;  // NOLINT(cppcoreguidelines-owning-memory): what was shut is the test's
}
