// Device memory that comes and goes in the order of streams, from a pool that keeps what is freed:
// in steady state nothing is allocated.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <utility>

namespace trtfast::cuda {

class PooledMemory {
 public:
  PooledMemory() = default;
  /// @param stream the memory may be used by what is submitted to it from now on.
  /// @throws OutOfMemoryError
  PooledMemory(int device, std::size_t bytes, cudaStream_t stream);
  PooledMemory(PooledMemory&& other) noexcept
      : device_(other.device_),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        last_user_(other.last_user_) {}
  PooledMemory(const PooledMemory&) = delete;  // one owner frees the memory
  PooledMemory& operator=(const PooledMemory&) = delete;
  PooledMemory& operator=(PooledMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(last_user_, other.last_user_);
    return *this;
  }
  ~PooledMemory();

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// The stream whose work so far has to end before the memory is used anew; by default the legacy
  /// default stream, which waits for all blocking streams.
  void set_last_user(cudaStream_t stream) noexcept { last_user_ = stream; }
  [[nodiscard]] cudaStream_t last_user() const noexcept { return last_user_; }

 private:
  int device_ = 0;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  cudaStream_t last_user_ = nullptr;
};

}  // namespace trtfast::cuda
