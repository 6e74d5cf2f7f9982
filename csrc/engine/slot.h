// The memory that a lane keeps for one tensor.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>

#include "cuda/memory.h"
#include "engine/tensor.h"
#include "tensorrt/callbacks.h"

namespace trtfast {

// TensorRT wants addresses that are multiples of this, and one for every tensor, an empty one too.
inline constexpr std::size_t kAlignment = 256;
inline constexpr std::size_t kSmallestBuffer = kAlignment;

/// As the sink of an output whose shape depends on data, it grows while TensorRT runs.
struct Slot final : tensorrt::OutputSink {
  cuda::DeviceBuffer device;
  cuda::DeviceBuffer images;  // of an input that is made of images: what images::Batch needs
  cuda::PinnedBuffer pinned;
  Shape found;                 // of an output whose shape depends on data
  bool told = false;           // whether TensorRT told that shape
  std::exception_ptr failure;  // why provide() had no memory

  void reserve_device(std::size_t bytes) { device.reserve(std::max(bytes, kSmallestBuffer)); }
  void reserve_pinned(std::size_t bytes) { pinned.reserve(std::max(bytes, kSmallestBuffer)); }

  void* provide(std::size_t bytes) noexcept override {
    try {
      device.reserve(std::max(bytes, kSmallestBuffer));
      return device.data();
    } catch (...) {
      failure = std::current_exception();  // it must not pass through TensorRT,
      return nullptr;                      // which fails the enqueue
    }
  }
  void set_shape(const tensorrt::Dims& dims) noexcept override {
    try {
      found = to_shape(dims);
      told = true;
    } catch (...) {
      told = false;
    }
  }
};

}  // namespace trtfast
