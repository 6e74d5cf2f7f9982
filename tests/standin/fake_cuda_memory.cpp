// The fake's memory: allocated at once, or in a stream's order.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#include "fake_cuda_state.h"
#include "fake_cuda_work.h"

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

namespace {

constexpr std::align_val_t kAlignment{256};
constexpr std::size_t kPage = 4096;
constexpr std::size_t kDeviceMemory = std::size_t{1} << 30U;  // of each GPU

/// Small blocks are whole pages, and what was freed last is given out first: as on a GPU, memory
/// that replaces smaller memory often lies at the same address.
struct FreeBlocks {
  std::mutex mutex;
  std::vector<std::byte*> pages;

  ~FreeBlocks() {
    for (auto* page : pages) ::operator delete(page, kAlignment);
  }
};
FreeBlocks& free_blocks() {
  static FreeBlocks blocks;
  return blocks;
}

#ifdef __SANITIZE_ADDRESS__
void forbid(std::byte* from, std::size_t bytes) { __asan_poison_memory_region(from, bytes); }
void permit(std::byte* from, std::size_t bytes) { __asan_unpoison_memory_region(from, bytes); }
#else
void forbid(std::byte* /*from*/, std::size_t /*bytes*/) {}
void permit(std::byte* /*from*/, std::size_t /*bytes*/) {}
#endif

std::byte* take_block(std::size_t bytes) {
  if (bytes > kPage) return static_cast<std::byte*>(::operator new(bytes, kAlignment));
  auto& blocks = free_blocks();
  const std::scoped_lock lock(blocks.mutex);
  std::byte* data = nullptr;
  if (blocks.pages.empty()) {
    data = static_cast<std::byte*>(::operator new(kPage, kAlignment));
  } else {
    data = blocks.pages.back();
    blocks.pages.pop_back();
  }
  permit(data, bytes);
  forbid(data + bytes, kPage - bytes);
  return data;
}

void give_block(std::byte* data, std::size_t bytes) {
  if (bytes > kPage) {
    ::operator delete(data, kAlignment);
    return;
  }
  auto& blocks = free_blocks();
  const std::scoped_lock lock(blocks.mutex);
  forbid(data, kPage);
  blocks.pages.push_back(data);
}

std::byte* add_allocation(std::size_t bytes, Space space, std::shared_ptr<Pool> pool) {
  auto* data = take_block(bytes);
  std::memset(data, 0xCD, bytes);  // new memory holds nothing of use
  const std::scoped_lock lock(state().mutex);
  const bool ready = pool == nullptr;
  state().memory[data] = {bytes, current, space, ++state().allocations, std::move(pool), ready};
  return data;
}

void remove_allocation(std::byte* data) {
  std::size_t bytes = 0;
  {
    const std::scoped_lock lock(state().mutex);
    const auto node = state().memory.extract(data);
    bytes = node.mapped().size;
    if (const auto& pool = node.mapped().pool) pool->used -= node.mapped().size;
  }
  give_block(data, bytes);
}

// The allocation that starts there; none where it is freed already.
std::optional<Allocation> find_start(const void* memory) {
  const std::scoped_lock lock(state().mutex);
  const auto found = state().memory.find(static_cast<const std::byte*>(memory));
  if (found == state().memory.end() || found->second.freed) return std::nullopt;
  return found->second;
}

/// What the current GPU has left.
std::size_t free_memory() {
  const std::scoped_lock lock(state().mutex);
  std::size_t used = 0;
  for (const auto& [data, allocation] : state().memory) {
    if (allocation.space == Space::kDevice && allocation.device == current) used += allocation.size;
  }
  return kDeviceMemory - std::min(used, kDeviceMemory);  // threads that ask at once may all get it
}

cudaError_t allocate(void** memory, std::size_t bytes, Space space, const char* function) {
  if (const auto error = check_safe(function); error != cudaSuccess) return error;
  const bool is_full = space == Space::kDevice && bytes > free_memory();
  if (is_full || fails(function) || fails("allocation")) return result(cudaErrorMemoryAllocation);
  *memory = add_allocation(bytes, space, nullptr);
  return cudaSuccess;
}

cudaError_t release(void* memory, Space space, const char* function) {
  static_cast<void>(fails(function));
  if (memory == nullptr) return cudaSuccess;
  if (const auto error = check_safe(function); error != cudaSuccess) return error;
  const auto found = find_start(memory);
  if (!found) return fault(std::string(function) + ": not allocated, or freed before");
  if (found->space != space) return fault(std::string(function) + ": memory of the other kind");
  if (space == Space::kDevice && found->device != current) {
    return fault(std::string(function) + ": memory of another GPU than the current one");
  }
  drain_device(found->device);
  remove_allocation(static_cast<std::byte*>(memory));
  return cudaSuccess;
}

/// Whether the pool has the bytes; they are counted as used then.
bool take(Pool& pool, std::size_t bytes) {
  const std::scoped_lock lock(state().mutex);
  if (pool.limit != 0 && pool.used + bytes > pool.limit) return false;
  pool.used += bytes;
  return true;
}

cudaError_t allocate_from(std::shared_ptr<Pool> pool, void** memory, std::size_t bytes,
                          cudaStream_t handle, const char* function) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, function); error != cudaSuccess) return error;
  if (const auto error = not_in_capture(stream, function); error != cudaSuccess) return error;
  const bool is_full = bytes > free_memory();
  if (is_full || fails(function) || fails("allocation") || !take(*pool, bytes)) {
    return result(cudaErrorMemoryAllocation);
  }
  auto* data = add_allocation(bytes, Space::kDevice, std::move(pool));
  *memory = data;
  return submit(stream, [data] {
    const std::scoped_lock lock(state().mutex);
    state().memory.at(data).ready = true;
  });
}

}  // namespace

// The runtime's functions. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = kDeviceMemory;
  *free = free_memory();
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

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  // Each allocation stands for the part that it has of its GPU's own pool.
  auto own = std::make_shared<Pool>(Pool{current, 0});
  return allocate_from(std::move(own), memory, bytes, stream, "cudaMallocAsync");
}

cudaError_t cudaMallocFromPoolAsync(void** memory, std::size_t bytes, cudaMemPool_t handle,
                                    cudaStream_t stream) {
  const auto pool = find(state().pools, handle);
  if (pool == nullptr) return fault("cudaMallocFromPoolAsync: no such pool, or destroyed");
  if (pool->device != current) {
    return fault("cudaMallocFromPoolAsync: a pool of another GPU than the current one");
  }
  return allocate_from(pool, memory, bytes, stream, "cudaMallocFromPoolAsync");
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t handle) {
  static_cast<void>(fails("cudaFreeAsync"));
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaFreeAsync"); error != cudaSuccess) return error;
  if (const auto error = not_in_capture(stream, "cudaFreeAsync"); error != cudaSuccess) {
    return error;
  }
  const auto found = find_start(memory);
  if (!found) return fault("cudaFreeAsync: not allocated, or freed before");
  if (found->pool == nullptr) return fault("cudaFreeAsync: memory that no stream allocated");
  auto* data = static_cast<std::byte*>(memory);
  {
    const std::scoped_lock lock(state().mutex);
    state().memory.at(data).freed = true;
  }
  return submit(stream, [data] {
    if (place_of(data, false).room > 0) {
      remove_allocation(data);
      return;
    }
    fault("cudaFreeAsync: before the memory was allocated, in another stream");
    const std::scoped_lock lock(state().mutex);
    state().memory.at(data).freed = false;
  });
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* handle, const cudaMemPoolProps* properties) {
  if (fails("cudaMemPoolCreate")) return result(cudaErrorMemoryAllocation);
  const int device = properties->location.id;
  int devices = 0;
  static_cast<void>(cudaGetDeviceCount(&devices));
  if (properties->allocType != cudaMemAllocationTypePinned ||
      properties->location.type != cudaMemLocationTypeDevice || device < 0 || device >= devices) {
    return fault("cudaMemPoolCreate: a pool is of pinned memory on one of the GPUs");
  }
  const auto pool = std::make_shared<Pool>(Pool{device, properties->maxSize});
  {
    const std::scoped_lock lock(state().mutex);
    pool->id = ++state().allocations;
  }
  *handle = open<cudaMemPool_t>(state().pools, pool);
  return cudaSuccess;
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t handle, cudaMemPoolAttr attribute, void* value) {
  if (fails("cudaMemPoolSetAttribute")) return result(cudaErrorInvalidValue);
  const auto pool = find(state().pools, handle);
  if (pool == nullptr) return fault("cudaMemPoolSetAttribute: no such pool, or destroyed");
  // The others are read, or reset, by those who look into a pool.
  if (value != nullptr && attribute >= cudaMemPoolReuseFollowEventDependencies &&
      attribute <= cudaMemPoolAttrReleaseThreshold) {
    const std::scoped_lock lock(state().mutex);
    if (attribute == cudaMemPoolAttrReleaseThreshold) {
      const auto threshold = *static_cast<const std::uint64_t*>(value);
      pool->keeps_all = threshold == std::numeric_limits<std::uint64_t>::max();
    }
    return cudaSuccess;
  }
  return fault("cudaMemPoolSetAttribute: an attribute that cannot be set, or no value");
}

// What was allocated from it stays.
cudaError_t cudaMemPoolDestroy(cudaMemPool_t handle) {
  return close(state().pools, handle, "cudaMemPoolDestroy");
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const auto range = range_of(address, 0);
  if (!range.inside) return fault("cudaPointerGetAttributes: after cudaFreeAsync");
  *attributes = {};
  attributes->device = range.device;
  attributes->devicePointer = range.data;
  attributes->hostPointer = range.data;
  if (range.pageable()) {
    attributes->type = cudaMemoryTypeUnregistered;
    attributes->devicePointer = nullptr;
  } else if (range.on_device()) {
    attributes->type = cudaMemoryTypeDevice;
    attributes->hostPointer = nullptr;
  } else {
    attributes->type = cudaMemoryTypeHost;
  }
  return cudaSuccess;
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
