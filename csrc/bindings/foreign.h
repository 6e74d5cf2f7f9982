// Arrays of other libraries on the device, through DLPack and the CUDA array interface.
#pragma once

#include "bindings/pybind.h"
#include "cuda/junction.h"
#include "engine/tensor.h"

namespace trtfast::bindings {

/// An array on the device: its memory, and the object that keeps it.
struct DeviceView {
  std::byte* data;
  Shape shape;
  py::object keep;
};

/// Whether an object is an array on a GPU.
[[nodiscard]] bool is_on_device(py::handle object);

/// Its memory, which must be of an engine's tensor's dtype, contiguous, and on the engine's GPU.
/// @param what as in "input 'image'", for messages.
/// @param stream where the producer's work has to be seen; else `junction` collects it.
/// @throws InputError
[[nodiscard]] DeviceView device_view(py::handle object, const std::string& what, DataType dtype,
                                     int device, const std::optional<std::uintptr_t>& stream,
                                     const cuda::Junction* junction);

}  // namespace trtfast::bindings
