#include <exception>
#include <new>

#include "bindings/pybind.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

py::object python_error(const Error& error) {
  const auto type = py::module_::import("trtfast.errors").attr(error.kind());
  const py::object made = type(decoded(error.what()));
  if (const auto* build = dynamic_cast<const BuildError*>(&error)) {
    if (!build->node().empty()) made.attr("node") = decoded(build->node());
  } else if (const auto* memory = dynamic_cast<const OutOfMemoryError*>(&error)) {
    made.attr("requested") = memory->requested();
    made.attr("free") = memory->free();
  }
  return made;
}

}  // namespace

py::object exception_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return python_error(known);
  } catch (const std::bad_alloc&) {
    return py::reinterpret_borrow<py::object>(PyExc_MemoryError)();
  } catch (const std::exception& other) {
    return py::reinterpret_borrow<py::object>(PyExc_RuntimeError)(decoded(other.what()));
  }
}

void register_errors(py::module_& /*module*/) {
  // NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11 fixes the signature
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      const auto raised = python_error(error);
      PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(raised.ptr())), raised.ptr());
    }
  });
}

}  // namespace trtfast::bindings
