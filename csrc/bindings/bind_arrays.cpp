// The arrays that trtfast makes: page-locked ones for NumPy, and those on the device.
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/dlpack.h"
#include "cuda/memory.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

using Handle = std::shared_ptr<DeviceArray>;

dlpack::DType dlpack_dtype(DataType dtype) {
  using dlpack::Code;
  const auto bits = static_cast<std::uint8_t>(8 * tensorrt::item_size(dtype));
  switch (dtype) {
    case DataType::kFloat:
    case DataType::kHalf: return {Code::kFloat, bits, 1};
    case DataType::kBf16: return {Code::kBfloat, bits, 1};
    case DataType::kInt8:
    case DataType::kInt32:
    case DataType::kInt64: return {Code::kInt, bits, 1};
    case DataType::kUint8: return {Code::kUint, bits, 1};
    case DataType::kBool: return {Code::kBool, bits, 1};
    case DataType::kFp8: return {Code::kFloat8E4m3fn, bits, 1};
    default: throw InputError(std::string("DLPack has no dtype ") + numpy_name(dtype));
  }
}

/// What a consumer borrows: it holds the array until it calls the deleter.
struct Loan {
  Handle array;
  dlpack::ManagedTensor managed{};

  explicit Loan(Handle lent) : array(std::move(lent)) {
    Tensor& tensor = array->tensor();
    managed.tensor = {tensor.device.data(),
                      {dlpack::kCuda, tensor.device.device()},
                      static_cast<std::int32_t>(tensor.shape.size()),
                      dlpack_dtype(tensor.dtype),
                      tensor.shape.data(),
                      nullptr,
                      0};
    managed.context = this;
    managed.deleter = [](dlpack::ManagedTensor* ended) {
      delete static_cast<Loan*>(ended->context);
    };
  }
};

/// Makes the consumer's stream wait until the array is filled; its memory is used anew after the
/// consumer's work so far.
void follow(DeviceArray& array, std::optional<std::intptr_t> consumer) {
  constexpr std::intptr_t kNoSynchronisation = -1;
  const std::intptr_t handle = consumer.value_or(1);
  if (handle == kNoSynchronisation) return;
  auto* const stream = reinterpret_cast<cudaStream_t>(handle);  // NOLINT: a handle
  const ReleasedGil released;
  const cuda::DeviceGuard guard(array.tensor().device.device());
  if (const auto own = array.stream(); own && *own != stream) {
    const auto between = cuda::Junction::of(array.tensor().device.device());
    between->add(*own);
    between->ready().hold(stream);
  }
  array.tensor().device.set_last_user(stream);
}

/// CuPy destroys a stream with its last reference, which may come before that to an array on it.
void keep_stream(DeviceArray& array, std::optional<std::intptr_t> consumer) {
  const py::dict modules = py::module_::import("sys").attr("modules");
  if (!consumer || !modules.contains("cupy")) return;
  const py::object current = modules["cupy"].attr("cuda").attr("get_current_stream")();
  if (current.attr("ptr").cast<std::intptr_t>() == *consumer) array.owners().add(current);
}

py::capsule to_dlpack(const Handle& array, std::optional<std::intptr_t> stream,
                      const py::object& /*max_version*/, const py::object& /*dl_device*/,
                      const std::optional<bool>& copy) {
  if (copy.value_or(false)) {
    throw InputError("__dlpack__(copy=True): copy the array with the library that takes it");
  }
  follow(*array, stream);
  keep_stream(*array, stream);
  auto loan = std::make_unique<Loan>(array);
  PyObject* capsule = PyCapsule_New(&loan->managed, dlpack::kCapsule, [](PyObject* object) {
    // A consumer renames the capsule and calls the deleter itself.
    if (PyCapsule_IsValid(object, dlpack::kCapsule) == 0) return;
    auto* managed =
        static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(object, dlpack::kCapsule));
    managed->deleter(managed);
  });
  if (capsule == nullptr) throw py::error_already_set();
  static_cast<void>(loan.release());
  return py::reinterpret_steal<py::capsule>(capsule);
}

py::dict array_interface(const Handle& array) {
  Tensor& tensor = array->tensor();
  const py::dtype dtype = numpy_dtype(tensor.dtype);
  if (dtype.kind() == 'V') {
    throw py::attribute_error("the CUDA array interface has no name for this dtype; use DLPack");
  }
  py::dict interface;
  interface["shape"] = py::tuple(py::cast(tensor.shape));
  interface["typestr"] = dtype.attr("str");
  interface["data"] =
      py::make_tuple(reinterpret_cast<std::uintptr_t>(tensor.device.data()), /*read_only=*/false);
  interface["version"] = 3;
  interface["strides"] = py::none();
  if (array->stream()) {
    const auto handle = reinterpret_cast<std::uintptr_t>(*array->stream());
    interface["stream"] = handle == 0 ? 1 : handle;
  } else {
    interface["stream"] = py::none();
  }
  return interface;
}

py::array to_numpy(const Handle& array) {
  const Tensor& tensor = array->tensor();
  py::array copy(numpy_dtype(tensor.dtype), tensor.shape);
  void* target = copy.mutable_data();
  const std::size_t bytes = byte_size(tensor.shape, tensor.dtype);
  const ReleasedGil released;
  const cuda::DeviceGuard guard(tensor.device.device());
  auto* const stream = array->stream().value_or(nullptr);
  if (bytes > 0) {
    TRTFAST_CUDA(
        cudaMemcpyAsync(target, tensor.device.data(), bytes, cudaMemcpyDeviceToHost, stream));
    TRTFAST_CUDA(cudaStreamSynchronize(stream));
  }
  return copy;
}

py::array pinned_array(const Shape& shape, const py::object& type) {
  const auto dtype = py::dtype::from_args(type);
  auto bytes = static_cast<std::size_t>(dtype.itemsize());
  for (const auto size : shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<std::size_t>(size), &bytes)) {
      throw InputError("an array of shape " + str(shape) + " cannot be made");
    }
  }
  std::shared_ptr<cuda::PinnedBuffer> memory = make_released<cuda::PinnedBuffer>();
  {
    const ReleasedGil released;
    cuda::check_not_stale();
    cuda::note_use();
    memory->reserve(std::max<std::size_t>(bytes, 1));
    std::memset(memory->data(), 0, bytes);
  }
  void* data = memory->data();
  auto owner = std::make_unique<std::shared_ptr<cuda::PinnedBuffer>>(std::move(memory));
  const py::capsule capsule(owner.get(), [](void* held) {
    delete static_cast<std::shared_ptr<cuda::PinnedBuffer>*>(held);
  });
  static_cast<void>(owner.release());
  return {dtype, shape, data, capsule};
}

}  // namespace

void register_arrays(py::module_& module) {
  py::class_<DeviceArray, Handle>(
      module, "DeviceArray",
      "An array on the GPU, for other libraries to take without a copy: torch.from_dlpack(x), "
      "cupy.from_dlpack(x). Streams that use it must live as long as it does, which those of "
      "PyTorch "
      "and CuPy do by themselves.")
      .def_property_readonly(
          "shape", [](const Handle& array) { return py::tuple(py::cast(array->tensor().shape)); },
          "tuple of int")
      .def_property_readonly(
          "dtype", [](const Handle& array) { return numpy_dtype(array->tensor().dtype); },
          "numpy.dtype")
      .def_property_readonly("nbytes",
                             [](const Handle& array) {
                               return byte_size(array->tensor().shape, array->tensor().dtype);
                             })
      .def_property_readonly(
          "device", [](const Handle& array) { return array->tensor().device.device(); },
          "The GPU's index.")
      .def(
          "keep", [](const Handle& array, const py::object& owner) { array->owners().add(owner); },
          py::arg("owner"), "Keeps the owner of a stream as long as the array.")
      .def("copy_to_host", &to_numpy, "A NumPy copy, once the array is filled.")
      .def("__dlpack__", &to_dlpack, py::kw_only(), py::arg("stream") = py::none(),
           py::arg("max_version") = py::none(), py::arg("dl_device") = py::none(),
           py::arg("copy") = py::none())
      .def("__dlpack_device__",
           [](const Handle& array) {
             return std::pair(dlpack::kCuda, array->tensor().device.device());
           })
      .def_property_readonly("__cuda_array_interface__", &array_interface);

  module.def("pinned_array", &pinned_array, py::arg("shape"), py::arg("dtype"),
             "A page-locked NumPy array of zeros, which the GPU reads and writes by itself.");
}

}  // namespace trtfast::bindings
