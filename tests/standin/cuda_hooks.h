// How a stand-in library reaches "device" memory: a table of functions that the test's fake CUDA
// runtime exports under kCudaHooksSymbol.
#pragma once

#include <cstddef>
#include <cstdint>

namespace standin {

/// Work in a stream's order.
struct StreamWork {
  void (*run)(void* argument) noexcept;
  /// Called before each launch of a graph that the work was captured in, with the stream and the
  /// launch's end.
  void (*relaunch)(void* argument, void* stream, std::uint64_t position) noexcept;
  void (*release)(void* argument) noexcept;
  void* argument;
  bool copies = false;  // memory, as cudaMemcpyAsync does; else it is a kernel
};

struct CudaHooks {
  /// The calling thread's device; -1 where there is none.
  int (*current_device)() noexcept;
  /// Null where there is no memory, or a capture forbids it.
  void* (*allocate)(std::size_t bytes) noexcept;
  void (*release)(void* memory) noexcept;
  /// Bytes from an address to the end of its allocation; 0 where it is no live memory.
  std::size_t (*room)(const void* address) noexcept;
  /// What tells memory from any other that was at its address; 0 where there is none.
  std::uint64_t (*allocation)(const void* address) noexcept;
  void (*read)(void* host, const void* device, std::size_t bytes) noexcept;
  void (*write)(void* device, const void* host, std::size_t bytes) noexcept;
  /// Runs work.run(work.argument) after all that the stream holds already, and work.release() when
  /// it will not be run again: a captured stream's work is run each time that its graph is
  /// launched. False, with the argument released, where the stream takes no work.
  bool (*launch)(void* stream, const StreamWork& work) noexcept;
  /// The end of what the stream holds now, and whether it has come there; true of no stream.
  std::uint64_t (*position)(void* stream) noexcept;
  bool (*reached)(void* stream, std::uint64_t position) noexcept;
  /// Whether what is added to `next` from now on runs after that position of another stream.
  bool (*ordered)(void* stream, std::uint64_t position, void* next) noexcept;
  bool (*capturing)(void* stream) noexcept;
  /// False in a capture, which is invalid from then on.
  bool (*synchronize)(void* stream) noexcept;
};

inline constexpr const char* kCudaHooksSymbol = "standin_cuda_hooks";

}  // namespace standin
