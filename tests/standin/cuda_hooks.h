// How a stand-in library reaches "device" memory: a table of functions that the test's fake CUDA
// runtime exports under kCudaHooksSymbol.
#pragma once

#include <cstddef>

namespace standin {

struct CudaHooks {
  /// The calling thread's device; -1 where there is none.
  int (*current_device)() noexcept;
  void* (*allocate)(std::size_t bytes) noexcept;
  void (*release)(void* memory) noexcept;
  /// Bytes from an address to the end of its allocation; 0 where it is no live memory.
  std::size_t (*room)(const void* address) noexcept;
  void (*read)(void* host, const void* device, std::size_t bytes) noexcept;
  void (*write)(void* device, const void* host, std::size_t bytes) noexcept;
  /// Runs work(argument) after all that the stream holds already; false if the stream cannot.
  bool (*launch)(void* stream, void (*work)(void*) noexcept, void* argument) noexcept;
  bool (*idle)(void* stream) noexcept;
  void (*synchronize)(void* stream) noexcept;
};

inline constexpr const char* kCudaHooksSymbol = "standin_cuda_hooks";

}  // namespace standin
