// From Python's arrays to the core's views of memory, and back.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bindings/pybind.h"
#include "cuda/junction.h"
#include "engine/engine.h"

namespace trtfast::bindings {

/// A call's arguments, as the core takes them, and what keeps their memory in place.
struct Arguments {
  enum class Form { kSingle, kTuple, kDict };  // of what was given, and so of what is returned

  Request request;
  Form form = Form::kSingle;
  std::vector<py::object> keep = {};
  std::vector<py::object> out = {};  // the caller's outputs, empty where there are none
  std::shared_ptr<cuda::Junction> junction = {};  // where inputs come from other streams

  /// What has to happen on the device before the call. Used without the GIL.
  [[nodiscard]] const cuda::Event* ready() const {
    return junction != nullptr ? &junction->ready() : nullptr;
  }
};

/// @param seconds from now.
/// @throws InputError for what is no time to wait.
[[nodiscard]] Deadline deadline_of(const std::optional<double>& seconds);

/// Reads the arguments of infer().
/// @param inputs an array, a list or tuple in the engine's order, or a dict by name.
/// @param out the same for the outputs, or None.
/// @param stream the handle of the caller's CUDA stream, or None.
/// @return nothing where an input is not exactly what the engine takes: it has to be cast or
/// copied,
///   or its fault told.
/// @throws InputError for outputs, and arrays on the device, that cannot be used as they are.
[[nodiscard]] std::optional<Arguments> read_arguments(const Engine& engine,
                                                      const py::object& inputs,
                                                      const py::object& out,
                                                      const std::optional<std::uintptr_t>& stream);

/// What infer() returns: new arrays, or those that the caller gave.
[[nodiscard]] py::object to_results(const Engine& engine, const Arguments& arguments,
                                    std::vector<Tensor> outputs);

/// An array on the device that an engine made.
class DeviceArray {
 public:
  DeviceArray(Tensor tensor, std::optional<cudaStream_t> stream)
      : tensor_(std::move(tensor)), stream_(stream) {}
  [[nodiscard]] Tensor& tensor() noexcept { return tensor_; }
  /// The caller's stream that fills it; none where it is filled already.
  [[nodiscard]] const std::optional<cudaStream_t>& stream() const noexcept { return stream_; }

 private:
  Tensor tensor_;
  std::optional<cudaStream_t> stream_;
};

}  // namespace trtfast::bindings
