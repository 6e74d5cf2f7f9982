#include <array>
#include <string>
#include <vector>

#include "bindings/pybind.h"
#include "engine/engine.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

py::array to_array(Tensor tensor) {
  const py::capsule owner(tensor.data.get(), [](void* data) { delete[] static_cast<std::byte*>(data); });
  return {numpy_dtype(tensor.dtype), tensor.shape, tensor.data.release(), owner};
}

std::vector<py::array> infer(Engine& engine, const std::vector<py::array>& arrays) {
  std::vector<py::array> contiguous;  // holds the copies of those that were not
  std::vector<TensorView> views;
  for (std::size_t index = 0; index < arrays.size() && index < engine.inputs().size(); ++index) {
    const TensorSpec& spec = engine.inputs()[index];
    if (!arrays[index].dtype().equal(numpy_dtype(spec.dtype))) {
      throw InputError("input '" + spec.name + "' must be " + tensorrt::numpy_name(spec.dtype));
    }
    const auto& array = contiguous.emplace_back(py::array::ensure(arrays[index], py::array::c_style));
    views.push_back({static_cast<const std::byte*>(array.data()),
                     Shape(array.shape(), array.shape() + array.ndim()), spec.dtype});
  }
  std::vector<Tensor> outputs;
  {
    const py::gil_scoped_release release;  // all arguments are converted: no Python object is touched
    outputs = engine.infer(views);
  }
  std::vector<py::array> results;
  for (auto& output : outputs) results.push_back(to_array(std::move(output)));
  return results;
}

std::shared_ptr<Engine> load(const std::shared_ptr<const tensorrt::Library>& library,
                             const py::buffer& plan, int device, int lanes,
                             bool allow_unsupported_gpu) {
  const py::buffer_info info = plan.request();  // keeps the bytes in place while the GIL is free
  const py::gil_scoped_release release;
  return make_released<Engine>(library, bytes_of(info),
                               EngineOptions{device, lanes, allow_unsupported_gpu});
}

std::string inspect(const std::shared_ptr<const tensorrt::Library>& library, const py::buffer& plan,
                    int device) {
  const py::buffer_info info = plan.request();  // keeps the bytes in place while the GIL is free
  const py::gil_scoped_release release;
  return Plan(library, bytes_of(info), device, /*allow_unsupported_gpu=*/true).inspect();
}

}  // namespace

py::dtype numpy_dtype(tensorrt::DataType dtype) {
  constexpr std::size_t kTypes = 12;
  static std::array<PyObject*, kTypes> cache{};  // never freed: dtypes live as long as Python does
  PyObject*& cached = cache.at(static_cast<std::size_t>(dtype));
  if (cached == nullptr) {
    if (tensorrt::item_size(dtype) == 0) {
      throw InputError(std::string("NumPy has no equal of TensorRT's dtype ") + numpy_name(dtype));
    }
    const bool builtin = dtype != DataType::kBf16 && dtype != DataType::kFp8 && dtype != DataType::kE8m0;
    const py::object source = builtin ? py::object(py::str(tensorrt::numpy_name(dtype)))
                                      : py::module_::import("ml_dtypes").attr(numpy_name(dtype));
    cached = py::dtype::from_args(source).release().ptr();
  }
  return py::reinterpret_borrow<py::dtype>(cached);
}

void register_engine(py::module_& module) {
  py::class_<ShapeRange>(module, "ShapeRange")
      .def_readonly("min", &ShapeRange::min)
      .def_readonly("opt", &ShapeRange::opt)
      .def_readonly("max", &ShapeRange::max);

  py::class_<TensorSpec>(module, "TensorSpec")
      .def_readonly("name", &TensorSpec::name)
      .def_property_readonly("dtype", [](const TensorSpec& spec) { return numpy_dtype(spec.dtype); })
      .def_readonly("shape", &TensorSpec::shape)
      .def_readonly("profiles", &TensorSpec::profiles);

  module.def("inspect", &inspect, py::arg("library"), py::arg("plan"), py::arg("device"),
             "What TensorRT's engine inspector tells of a plan's layers, as JSON.");

  py::class_<Engine, std::shared_ptr<Engine>>(module, "Engine", "A loaded plan.")
      .def(py::init(&load), py::arg("library"), py::arg("plan"), py::arg("device"),
           py::arg("lanes"), py::arg("allow_unsupported_gpu"))
      .def_property_readonly("inputs", &Engine::inputs)
      .def_property_readonly("outputs", &Engine::outputs)
      .def("infer", &infer, py::arg("inputs"), "Arrays in the order of inputs; outputs likewise.")
      .def("inspect", &Engine::inspect, py::call_guard<py::gil_scoped_release>(),
           "The engine inspector's JSON.")
      .def("close", &Engine::close, py::call_guard<py::gil_scoped_release>());
}

}  // namespace trtfast::bindings
