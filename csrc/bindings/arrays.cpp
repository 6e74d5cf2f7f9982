#include "bindings/arrays.h"

#include <algorithm>
#include <array>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/foreign.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

bool is_ready(const py::array& array) {
  constexpr unsigned kContiguous = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
  constexpr unsigned kReady = kContiguous | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  return (static_cast<unsigned>(array.flags()) & kReady) == kReady;
}

bool has_dtype(const py::array& array, DataType dtype) {
  const py::dtype wanted = numpy_dtype(dtype);
  const py::dtype given = array.dtype();
  return given.is(wanted) || given.equal(wanted);
}

Shape shape_of(const py::array& array) { return {array.shape(), array.shape() + array.ndim()}; }

bool fits(const Shape& shape, const Shape& wanted) {
  return shape.size() == wanted.size() &&
         std::equal(shape.begin(), shape.end(), wanted.begin(),
                    [](auto given, auto asked) { return asked < 0 || given == asked; });
}

/// Nothing where an array is not exactly what is taken.
std::optional<TensorView> host_view(const py::object& object, const TensorSpec& spec) {
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (!is_ready(array) || !has_dtype(array, spec.dtype)) return std::nullopt;
  TensorView view{static_cast<const std::byte*>(array.data()), shape_of(array), spec.dtype};
  if (!fits(view.shape, spec.shape)) return std::nullopt;
  return view;
}

/// The arrays of an argument in the engine's order; nothing where names or their number are wrong.
std::optional<std::vector<py::object>> arrange(const py::object& given,
                                               const std::vector<TensorSpec>& specs,
                                               Arguments::Form* form) {
  std::vector<py::object> arrays;
  arrays.reserve(specs.size());
  if (PyDict_Check(given.ptr()) != 0) {
    *form = Arguments::Form::kDict;
    const auto named = py::reinterpret_borrow<py::dict>(given);
    if (named.size() != specs.size()) return std::nullopt;
    for (const auto& spec : specs) {
      PyObject* found = PyDict_GetItemString(named.ptr(), spec.name.c_str());
      if (found == nullptr) return std::nullopt;
      arrays.push_back(py::reinterpret_borrow<py::object>(found));
    }
    return arrays;
  }
  if (PyTuple_Check(given.ptr()) != 0 || PyList_Check(given.ptr()) != 0) {
    *form = Arguments::Form::kTuple;
    for (const auto item : py::reinterpret_borrow<py::sequence>(given)) {
      arrays.push_back(py::reinterpret_borrow<py::object>(item));
    }
  } else {
    arrays.push_back(given);
  }
  if (arrays.size() != specs.size()) return std::nullopt;
  return arrays;
}

OutputView output_view(const Engine& engine, const TensorSpec& spec, const py::object& object,
                       const Arguments& arguments, const std::optional<std::uintptr_t>& stream,
                       std::vector<py::object>& keep) {
  const std::string what = "out: output '" + spec.name + "'";
  if (py::isinstance<py::array>(object)) {
    auto array = py::reinterpret_borrow<py::array>(object);
    if (!is_ready(array) || !array.writeable() || !has_dtype(array, spec.dtype)) {
      throw InputError(what + " must be a writable, C-contiguous array of " +
                       tensorrt::numpy_name(spec.dtype) + ": make it with engine.empty_output()");
    }
    return {static_cast<std::byte*>(array.mutable_data()), shape_of(array)};
  }
  if (!is_on_device(object)) {
    throw InputError(what + " is " + std::string(py::str(py::type::of(object).attr("__name__"))) +
                     "; expected a NumPy array, or an array on the GPU");
  }
  auto view =
      device_view(object, what, spec.dtype, engine.device(), stream, arguments.junction.get());
  keep.push_back(std::move(view.keep));
  return {view.data, std::move(view.shape), Memory::kDevice};
}

py::array host_array(std::unique_ptr<std::byte[]> data, const Shape& shape, DataType dtype) {
  const py::dtype type = numpy_dtype(dtype);  // may throw: comes before the capsule owns
  const py::capsule owner(data.get(),
                          [](void* memory) { delete[] static_cast<std::byte*>(memory); });
  return {type, shape, data.release(), owner};
}

}  // namespace

std::optional<Arguments> read_arguments(const Engine& engine, const py::object& inputs,
                                        const py::object& out,
                                        const std::optional<std::uintptr_t>& stream) {
  Arguments arguments;
  auto arrays = arrange(inputs, engine.inputs(), &arguments.form);
  if (!arrays) return std::nullopt;
  std::optional<std::vector<py::object>> targets;
  if (!out.is_none()) {
    Arguments::Form form{};
    targets = arrange(out, engine.outputs(), &form);
    if (!targets) {
      throw InputError("out: give an array for each of the engine's " +
                       std::to_string(engine.outputs().size()) +
                       " outputs, in their order or by their names");
    }
  }
  const auto needs_junction = [&](const py::object& object) {
    return !py::isinstance<py::array>(object) && is_on_device(object);
  };
  if (!stream && (std::ranges::any_of(*arrays, needs_junction) ||
                  (targets && std::ranges::any_of(*targets, needs_junction)))) {
    const ReleasedGil released;
    arguments.junction = cuda::Junction::of(engine.device());
  }

  Request& request = arguments.request;
  request.inputs.reserve(arrays->size());
  for (std::size_t index = 0; index < arrays->size(); ++index) {
    const TensorSpec& spec = engine.inputs()[index];
    const py::object& object = (*arrays)[index];
    if (py::isinstance<py::array>(object)) {
      auto view = host_view(object, spec);
      if (!view) return std::nullopt;
      request.inputs.push_back(std::move(*view));
    } else if (is_on_device(object)) {
      auto view = device_view(object, "input '" + spec.name + "'", spec.dtype, engine.device(),
                              stream, arguments.junction.get());
      request.inputs.push_back({view.data, std::move(view.shape), spec.dtype, Memory::kDevice});
      request.device_outputs = true;
      arguments.keep.push_back(std::move(view.keep));
    } else {
      return std::nullopt;
    }
  }
  if (targets) {
    for (std::size_t index = 0; index < targets->size(); ++index) {
      request.outputs.push_back(output_view(engine, engine.outputs()[index], (*targets)[index],
                                            arguments, stream, arguments.keep));
    }
    arguments.out = std::move(*targets);
  }
  if (stream) request.stream = reinterpret_cast<cudaStream_t>(*stream);  // NOLINT: a handle
  std::ranges::move(*arrays, std::back_inserter(arguments.keep));
  return arguments;
}

Deadline deadline_of(const std::optional<double>& seconds) {
  if (!seconds) return std::nullopt;
  constexpr double kLongest = 1e9;  // what a clock can add
  if (!(*seconds >= 0)) throw InputError("deadline must be seconds from now, 0 or more");
  const std::chrono::duration<double> wait(std::min(*seconds, kLongest));
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(wait);
}

std::optional<Arguments> read_host_arguments(const std::vector<TensorSpec>& specs,
                                             const py::object& inputs) {
  Arguments arguments;
  auto arrays = arrange(inputs, specs, &arguments.form);
  if (!arrays) return std::nullopt;
  for (std::size_t index = 0; index < arrays->size(); ++index) {
    if (!py::isinstance<py::array>((*arrays)[index])) return std::nullopt;
    auto view = host_view((*arrays)[index], specs[index]);
    if (!view) return std::nullopt;
    arguments.request.inputs.push_back(std::move(*view));
  }
  arguments.keep = std::move(*arrays);
  return arguments;
}

py::object to_results(const std::vector<TensorSpec>& specs, const Arguments& arguments,
                      std::vector<Tensor> outputs) {
  std::vector<py::object> results;
  results.reserve(outputs.size());
  for (std::size_t index = 0; index < outputs.size(); ++index) {
    Tensor& output = outputs[index];
    if (!arguments.out.empty()) {
      results.push_back(arguments.out[index]);
    } else if (output.data != nullptr) {
      results.emplace_back(host_array(std::move(output.data), output.shape, output.dtype));
    } else {
      results.push_back(
          py::cast(make_released<DeviceArray>(std::move(output), arguments.request.stream)));
    }
  }
  if (arguments.form == Arguments::Form::kDict) {
    py::dict named;
    for (std::size_t index = 0; index < results.size(); ++index) {
      named[py::str(specs[index].name)] = results[index];
    }
    return named;
  }
  if (results.size() == 1) return results[0];
  py::tuple all(results.size());
  for (std::size_t index = 0; index < results.size(); ++index) all[index] = results[index];
  return all;
}

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

tensorrt::DataType dtype_of(const py::object& numpy) {
  const py::dtype given = py::dtype::from_args(numpy);
  // Those of ml_dtypes last, for it need not be installed where the others are enough.
  for (const auto dtype :
       {DataType::kFloat, DataType::kHalf, DataType::kInt32, DataType::kInt64, DataType::kInt8,
        DataType::kUint8, DataType::kBool, DataType::kBf16, DataType::kFp8}) {
    if (given.equal(numpy_dtype(dtype))) return dtype;
  }
  throw InputError("TensorRT has no equal of NumPy's dtype " + py::str(numpy).cast<std::string>());
}

}  // namespace trtfast::bindings
