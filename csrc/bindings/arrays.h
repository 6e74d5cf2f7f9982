// From Python's arrays to the core's views of memory, and back.
#pragma once

#include <algorithm>
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

/// The same for arrays on the host alone.
[[nodiscard]] std::optional<Arguments> read_host_arguments(const std::vector<TensorSpec>& specs,
                                                           const py::object& inputs);

/// What infer() returns: new arrays, or those that the caller gave.
/// @param specs of the outputs.
[[nodiscard]] py::object to_results(const std::vector<TensorSpec>& specs,
                                    const Arguments& arguments, std::vector<Tensor> outputs);

[[nodiscard]] py::dict stats_of(const CallStats& counted);

/// Python's objects, kept alive by one that may end without the GIL.
class Kept {
 public:
  Kept() = default;
  Kept(const Kept&) = delete;  // they are counted
  Kept& operator=(const Kept&) = delete;
  ~Kept() {
    if (objects_.empty() || is_finalizing()) return;
    try {
      const py::gil_scoped_acquire acquired;
      for (auto* object : objects_) Py_DECREF(object);
    } catch (...) {  // NOLINT(bugprone-empty-catch): Python refuses the GIL; they are leaked
    }
  }
  /// With the GIL. What is kept already is not kept again.
  void add(py::handle object) {
    if (std::ranges::find(objects_, object.ptr()) != objects_.end()) return;
    objects_.push_back(object.inc_ref().ptr());
  }
  /// The first that was kept. With the GIL.
  [[nodiscard]] py::object front() const {
    return py::reinterpret_borrow<py::object>(objects_.front());
  }
  void add(const Kept& others) {
    for (auto* object : others.objects_) add(object);
  }

 private:
  std::vector<PyObject*> objects_;
};

/// An array on the device that an engine made.
class DeviceArray {
 public:
  DeviceArray(Tensor tensor, std::optional<cudaStream_t> stream)
      : tensor_(std::move(tensor)), stream_(stream) {}
  /// The owners of streams that use it: they must not end before it.
  [[nodiscard]] Kept& owners() noexcept { return owners_; }
  [[nodiscard]] Tensor& tensor() noexcept { return tensor_; }
  /// The caller's stream that fills it; none where it is filled already.
  [[nodiscard]] const std::optional<cudaStream_t>& stream() const noexcept { return stream_; }

 private:
  Kept owners_;  // first, to end last
  Tensor tensor_;
  std::optional<cudaStream_t> stream_;
};

}  // namespace trtfast::bindings
