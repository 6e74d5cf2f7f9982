#include <array>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "bindings/pybind.h"
#include "engine/engine.h"
#include "error.h"
#include "kernels/normalize.h"

namespace trtfast::bindings {
namespace {

py::array to_array(Tensor tensor) {
  const py::dtype dtype = numpy_dtype(tensor.dtype);  // may throw: comes before the capsule owns
  const py::capsule owner(tensor.data.get(),
                          [](void* data) { delete[] static_cast<std::byte*>(data); });
  return {dtype, tensor.shape, tensor.data.release(), owner};
}

/// Runs a call without the GIL: all its arguments are converted, it touches no Python object.
template <class Call>
std::vector<py::array> run_released(Call call) {
  std::vector<Tensor> outputs;
  {
    const py::gil_scoped_release release;
    outputs = call();
  }
  std::vector<py::array> results;
  results.reserve(outputs.size());
  for (auto& output : outputs) results.push_back(to_array(std::move(output)));
  return results;
}

std::vector<py::array> infer(Engine& engine, const std::vector<py::array>& arrays) {
  if (arrays.size() != engine.inputs().size()) {
    throw InputError("the engine takes " + std::to_string(engine.inputs().size()) +
                     " inputs, not " + std::to_string(arrays.size()));
  }
  std::vector<py::array> contiguous;  // holds the copies of those that were not
  std::vector<TensorView> views;
  for (std::size_t index = 0; index < arrays.size(); ++index) {
    const TensorSpec& spec = engine.inputs()[index];
    if (!arrays[index].dtype().equal(numpy_dtype(spec.dtype))) {
      throw InputError("input '" + spec.name + "' must be " + tensorrt::numpy_name(spec.dtype));
    }
    const auto& array =
        contiguous.emplace_back(py::array::ensure(arrays[index], py::array::c_style));
    if (!array) throw std::bad_alloc();  // the copy of one that is not contiguous failed
    views.push_back({static_cast<const std::byte*>(array.data()),
                     Shape(array.shape(), array.shape() + array.ndim()), spec.dtype});
  }
  return run_released([&] { return engine.infer(views); });
}

using Pixels = py::array_t<std::uint8_t, py::array::c_style>;
using Table = py::array_t<float, py::array::c_style>;

std::vector<py::array> infer_images(Engine& engine, const Pixels& images, const Table& table) {
  if (images.ndim() != 4 || images.shape(3) != 3 ||
      !std::cmp_equal(table.size(), kernels::kTableSize)) {
    throw InputError("images must be uint8 (n, height, width, 3), and their table (3, 256)");
  }
  const Shape shape = {images.shape(0), 3, images.shape(1), images.shape(2)};
  const auto* data = reinterpret_cast<const std::byte*>(images.data());
  const float* values = table.data();
  return run_released([&] { return engine.infer_images(data, shape, values); });
}

std::shared_ptr<Engine> load(const std::shared_ptr<const tensorrt::Library>& library,
                             const py::buffer& plan, int device, int lanes,
                             bool allow_unsupported_gpu, const py::buffer& kernels) {
  // They keep the bytes in place while the GIL is free.
  const py::buffer_info info = plan.request();
  const py::buffer_info kernel_info = kernels.request();
  const py::gil_scoped_release release;
  return make_released<Engine>(
      library, bytes_of(info),
      EngineOptions{device, lanes, allow_unsupported_gpu, bytes_of(kernel_info)});
}

py::str inspect(const std::shared_ptr<const tensorrt::Library>& library, const py::buffer& plan,
                int device) {
  const py::buffer_info info = plan.request();  // keeps the bytes in place while the GIL is free
  std::string told;
  {
    const py::gil_scoped_release release;
    told = Plan(library, bytes_of(info), device, /*allow_unsupported_gpu=*/true).inspect();
  }
  return decoded(told);
}

py::str inspect_engine(const Engine& engine) {
  std::string told;
  {
    const py::gil_scoped_release release;
    told = engine.inspect();
  }
  return decoded(told);
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
    const bool builtin =
        dtype != DataType::kBf16 && dtype != DataType::kFp8 && dtype != DataType::kE8m0;
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
      .def_property_readonly("name", [](const TensorSpec& spec) { return decoded(spec.name); })
      .def_property_readonly("dtype",
                             [](const TensorSpec& spec) { return numpy_dtype(spec.dtype); })
      .def_readonly("shape", &TensorSpec::shape)
      .def_readonly("profiles", &TensorSpec::profiles);

  module.def("inspect", &inspect, py::arg("library"), py::arg("plan"), py::arg("device"),
             "What TensorRT's engine inspector tells of a plan's layers, as JSON.");

  py::class_<Engine, std::shared_ptr<Engine>>(module, "Engine", "A loaded plan.")
      .def(py::init(&load), py::arg("library"), py::arg("plan"), py::arg("device"),
           py::arg("lanes"), py::arg("allow_unsupported_gpu"), py::arg("kernels"))
      .def_property_readonly("inputs", &Engine::inputs)
      .def_property_readonly("outputs", &Engine::outputs)
      .def("infer", &infer, py::arg("inputs"), "Arrays in the order of inputs; outputs likewise.")
      .def("infer_images", &infer_images, py::arg("images").noconvert(),
           py::arg("table").noconvert(), "Images uint8 (n, height, width, 3), with their table.")
      .def("take_new_kernels", &Engine::take_new_kernels,
           "Whether kernels were compiled since this was last asked.")
      .def(
          "kernels",
          [](const Engine& engine) {
            std::vector<std::byte> kernels;
            {
              const py::gil_scoped_release release;
              kernels = engine.kernels();
            }
            return py::bytes(reinterpret_cast<const char*>(kernels.data()), kernels.size());
          },
          "The kernels that TensorRT-RTX compiled, to keep for the next process.")
      .def("inspect", &inspect_engine, "The engine inspector's JSON.")
      .def("close", &Engine::close, py::call_guard<py::gil_scoped_release>());
}

}  // namespace trtfast::bindings
