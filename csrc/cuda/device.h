// The GPUs of this machine, and the guard that makes one of them current.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cuda/fork.h"

namespace trtfast::cuda {

struct Device {
  int index;  // as CUDA counts them, which may be otherwise than nvidia-smi does
  std::array<char, 16> uuid;
  std::string name;
  int compute_capability;    // major * 10 + minor
  std::size_t total_memory;  // bytes
  int multiprocessors;
  int clock_mhz;         // at its highest
  int memory_clock_mhz;  // at its highest; of what moves data twice in a cycle
  int memory_bus_bits;
};

struct Devices {
  std::vector<Device> list;
  std::string reason;  // why the list is empty
};

/// All GPUs; none, with the reason, where there is no GPU or no driver.
/// @throws CudaError in a child that was forked after CUDA had been used.
[[nodiscard]] Devices devices();

/// One GPU.
/// @throws UnsupportedDeviceError if there is none of that index.
[[nodiscard]] Device device(int index);

/// The CUDA version that the driver supports, as in 13000 for 13.0; 0 without a driver.
[[nodiscard]] int driver_version() noexcept;

/// Bytes of the current GPU's memory that are free; none where CUDA cannot tell. It completes the
/// message of another error, so it raises none of its own.
[[nodiscard]] std::optional<std::size_t> free_memory() noexcept;

/// Makes a GPU the current one of this thread, and the previous one again at the end.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;  // ends once
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
};

/// Runs the end of an object's life with its GPU current. Destructors must not throw, and nothing
/// is left to release where the driver is already unloading, nor in a stale child.
template <class Function>
void release_on(int device, Function&& release) noexcept {
  if (in_stale_child()) return;
  try {
    const DeviceGuard guard(device);
    std::forward<Function>(release)();
  } catch (...) {  // NOLINT(bugprone-empty-catch): see above
  }
}

}  // namespace trtfast::cuda
