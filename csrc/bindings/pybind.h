// The only include of pybind11, and what every binding needs of it. Include it first.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <utility>

#include "cuda/fork.h"
#include "tensorrt/types.h"

namespace py = pybind11;

namespace trtfast::bindings {

void register_errors(py::module_& module);
void register_log(py::module_& module);
void register_library(py::module_& module);
void register_build(py::module_& module);
void register_engine(py::module_& module);
void register_images(py::module_& module);
void register_arrays(py::module_& module);
void register_completions(py::module_& module);
void register_async(py::module_& module);
void register_batcher(py::module_& module);
void register_postprocess(py::module_& module);

/// The Python exception of an error that a call on another thread ended with.
[[nodiscard]] py::object exception_of(const std::exception_ptr& error);

/// The numpy.dtype of a TensorRT dtype; bfloat16 and float8 are those of ml_dtypes.
/// @throws InputError for a dtype that NumPy has no equal for.
[[nodiscard]] py::dtype numpy_dtype(tensorrt::DataType dtype);

/// The TensorRT dtype of a numpy.dtype.
/// @throws InputError for a dtype that TensorRT has no equal for.
[[nodiscard]] tensorrt::DataType dtype_of(const py::object& numpy);

/// Text of TensorRT's, or of a model's, which need not be UTF-8: what is none is replaced.
[[nodiscard]] inline py::str decoded(std::string_view text) {
  PyObject* result =
      PyUnicode_DecodeUTF8(text.data(), static_cast<py::ssize_t>(text.size()), "replace");
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(result);
}

/// True once the interpreter ends: from then on a thread that asks for the GIL is killed.
[[nodiscard]] inline bool is_finalizing() noexcept {
#if PY_VERSION_HEX >= 0x030D0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

/// Frees the GIL while it lives. Every call that may last is made without it.
class ReleasedGil {
 public:
  // Whoever holds the GIL while the interpreter ends is the one who ends it, and keeps it.
  ReleasedGil() : state_(is_finalizing() ? nullptr : PyEval_SaveThread()) {}
  ReleasedGil(const ReleasedGil&) = delete;  // taken back once
  ReleasedGil& operator=(const ReleasedGil&) = delete;
  ~ReleasedGil() {
    if (state_ == nullptr) return;
    // A thread that comes back to an interpreter that ends stays here for good, as from Python 3.14
    // on; before, Python kills it, which would unwind C++ that must not throw.
    if (is_finalizing()) hang();
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {  // the forced unwinding of a killed thread
      hang();
    }
  }

  [[noreturn]] static void hang() noexcept {
    while (true) std::this_thread::sleep_for(std::chrono::hours(1));
  }

 private:
  PyThreadState* state_;
};

/// An object whose destructor calls TensorRT or CUDA: it is deleted without the GIL, on any thread.
template <class T, class... Args>
[[nodiscard]] std::shared_ptr<T> make_released(Args&&... args) {
  return {new T(std::forward<Args>(args)...), [](T* object) {
            if (cuda::in_stale_child()) return;  // its threads and its GPU stayed with the parent
            // Another library may let go of it without the GIL.
            std::optional<ReleasedGil> released;
            if (PyGILState_Check() != 0) released.emplace();
            delete object;
          }};
}

[[nodiscard]] inline std::span<const std::byte> bytes_of(const py::buffer_info& info) {
  return {static_cast<const std::byte*>(info.ptr),
          static_cast<std::size_t>(info.size) * static_cast<std::size_t>(info.itemsize)};
}

}  // namespace trtfast::bindings
