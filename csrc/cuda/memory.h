// Buffers that only grow, on the device and page-locked on the host.
#pragma once

#include <cstddef>

namespace trtfast::cuda {

/// Which memory a buffer is made of.
enum class Space { kDevice, kPinned };

/// Bytes owned by this object, of the GPU that was current when they were reserved.
template <Space space>
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;  // one owner frees the memory
  Buffer& operator=(const Buffer&) = delete;
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Makes the buffer at least this large; what it held is lost if it has to grow.
  /// @throws OutOfMemoryError
  void reserve(std::size_t bytes);

 private:
  void release() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Whether host memory is page-locked.
[[nodiscard]] bool is_pinned(const void* memory) noexcept;

/// Clears CUDA's error, and tells of device memory that ran out.
[[noreturn]] void throw_out_of_device_memory(std::size_t bytes);

using DeviceBuffer = Buffer<Space::kDevice>;
using PinnedBuffer = Buffer<Space::kPinned>;

}  // namespace trtfast::cuda
