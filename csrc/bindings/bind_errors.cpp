#include "bindings/pybind.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

py::object python_error(const Error& error) {
  const auto type = py::module_::import("trtfast.errors").attr(error.kind());
  return type(decoded(error.what()));
}

void raise(const py::object& error) {
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
}

}  // namespace

void register_errors(py::module_& /*module*/) {
  // NOLINTNEXTLINE(performance-unnecessary-value-param): pybind11 fixes the signature
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const BuildError& error) {
      const auto raised = python_error(error);
      if (!error.node().empty()) raised.attr("node") = decoded(error.node());
      raise(raised);
    } catch (const OutOfMemoryError& error) {
      const auto raised = python_error(error);
      raised.attr("requested") = error.requested();
      raised.attr("free") = error.free();
      raise(raised);
    } catch (const Error& error) {
      raise(python_error(error));
    }
  });
}

}  // namespace trtfast::bindings
