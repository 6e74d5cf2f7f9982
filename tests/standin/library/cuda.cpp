#include "cuda.h"

#include <dlfcn.h>

#include <cstdint>

namespace standin {
namespace {

// The driver's functions, loaded by name. All work is synchronous: the stand-in computes on the
// host, and proves the order of calls, not speed.
template <class... Args>
int driver(const char* function, Args... args) noexcept {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  void* symbol = library != nullptr ? dlsym(library, function) : nullptr;
  constexpr int kNotInitialised = 3;
  if (symbol == nullptr) return kNotInitialised;
  return reinterpret_cast<int (*)(Args...)>(symbol)(args...);
}

std::uint64_t pointer(const void* memory) noexcept {
  return reinterpret_cast<std::uintptr_t>(memory);
}

int current_device() noexcept {
  int device = -1;
  return driver("cuCtxGetDevice", &device) == 0 ? device : -1;
}

void* allocate(std::size_t bytes) noexcept {
  void* memory = nullptr;
  return driver("cuMemAlloc_v2", &memory, bytes) == 0 ? memory : nullptr;
}

void release(void* memory) noexcept { driver("cuMemFree_v2", pointer(memory)); }

std::size_t room(const void* address) noexcept {
  constexpr int kStart = 11;  // CU_POINTER_ATTRIBUTE_RANGE_START_ADDR
  constexpr int kSize = 12;   // CU_POINTER_ATTRIBUTE_RANGE_SIZE
  std::uint64_t start = 0;
  std::size_t size = 0;
  static_cast<void>(
      driver("cuPointerGetAttribute", static_cast<void*>(&start), kStart, pointer(address)));
  static_cast<void>(
      driver("cuPointerGetAttribute", static_cast<void*>(&size), kSize, pointer(address)));
  return size > 0 ? static_cast<std::size_t>(start + size - pointer(address)) : 0;
}

void read(void* host, const void* device, std::size_t bytes) noexcept {
  if (bytes > 0) driver("cuMemcpyDtoH_v2", host, pointer(device), bytes);
}

void write(void* device, const void* host, std::size_t bytes) noexcept {
  if (bytes > 0) driver("cuMemcpyHtoD_v2", pointer(device), host, bytes);
}

bool launch(void* stream, void (*work)(void*) noexcept, void* argument) noexcept {
  if (driver("cuStreamSynchronize", stream) != 0) return false;
  work(argument);
  return true;
}

bool idle(void* stream) noexcept { return driver("cuStreamQuery", stream) == 0; }
void synchronize(void* stream) noexcept { driver("cuStreamSynchronize", stream); }

constexpr CudaHooks kDriver = {current_device, allocate, release, room,       read,
                               write,          launch,   idle,    synchronize};

}  // namespace

const CudaHooks& cuda() noexcept {
  static const auto* hooks = static_cast<const CudaHooks*>(dlsym(RTLD_DEFAULT, kCudaHooksSymbol));
  return hooks != nullptr ? *hooks : kDriver;
}

std::string out_of_memory(std::size_t bytes) {
  return "[stand-in] Error Code 2: OutOfMemory (Requested size was " + std::to_string(bytes) +
         " bytes.)";
}

}  // namespace standin
