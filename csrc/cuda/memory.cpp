#include "cuda/memory.h"

#include <optional>
#include <string>
#include <utility>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/fork.h"
#include "error.h"

namespace trtfast::cuda {

void throw_out_of_device_memory(std::size_t bytes) {
  static_cast<void>(cudaGetLastError());
  const auto free = free_memory();
  throw OutOfMemoryError("no device memory for " + std::to_string(bytes) + " bytes" +
                             (free ? ", with " + std::to_string(*free) + " bytes free" : "") +
                             ": use smaller batches or fewer lanes, or free memory",
                         bytes, free);
}

bool is_pinned(const void* memory) noexcept {
  cudaPointerAttributes attributes{};
  if (memory != nullptr && cudaPointerGetAttributes(&attributes, memory) == cudaSuccess) {
    return attributes.type == cudaMemoryTypeHost;
  }
  static_cast<void>(cudaGetLastError());
  return false;
}

template <Space space>
Buffer<space>::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

template <Space space>
Buffer<space>::~Buffer() {
  release();
}

template <Space space>
void Buffer<space>::release() noexcept {
  if (data_ == nullptr || in_stale_child()) return;
  // A driver that is already unloading at the process's end refuses; that is no one's concern.
  static_cast<void>(space == Space::kDevice ? cudaFree(data_) : cudaFreeHost(data_));
  data_ = nullptr;
  size_ = 0;
}

template <Space space>
void Buffer<space>::reserve(std::size_t bytes) {
  if (bytes <= size_) return;
  release();
  void* memory = nullptr;
  const cudaError_t error =
      space == Space::kDevice ? cudaMalloc(&memory, bytes) : cudaMallocHost(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    static_cast<void>(cudaGetLastError());
    if (space == Space::kPinned) {
      throw OutOfMemoryError("no page-locked host memory for " + std::to_string(bytes) +
                                 " bytes: use smaller batches or fewer lanes",
                             bytes, std::nullopt);
    }
    throw_out_of_device_memory(bytes);
  }
  check(error, space == Space::kDevice ? "cudaMalloc" : "cudaMallocHost");
  data_ = static_cast<std::byte*>(memory);
  size_ = bytes;
}

template class Buffer<Space::kDevice>;
template class Buffer<Space::kPinned>;

}  // namespace trtfast::cuda
