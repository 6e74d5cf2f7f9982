#include "bindings/foreign.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "bindings/dlpack.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

constexpr std::uintptr_t kLegacyStream = 1;  // as DLPack and the CUDA array interface count

cudaStream_t as_stream(std::uintptr_t handle) {
  return reinterpret_cast<cudaStream_t>(handle);  // NOLINT(performance-no-int-to-ptr): a handle
}

bool matches(dlpack::DType given, DataType wanted) {
  using dlpack::Code;
  const auto is = [&](Code code, unsigned bits) {
    return given.code == code && given.bits == bits;
  };
  if (given.lanes != 1) return false;
  switch (wanted) {
    case DataType::kFloat: return is(Code::kFloat, 32);
    case DataType::kHalf: return is(Code::kFloat, 16);
    case DataType::kBf16: return is(Code::kBfloat, 16);
    case DataType::kInt8: return is(Code::kInt, 8);
    case DataType::kInt32: return is(Code::kInt, 32);
    case DataType::kInt64: return is(Code::kInt, 64);
    case DataType::kUint8: return is(Code::kUint, 8);
    case DataType::kBool: return is(Code::kBool, 8) || is(Code::kUint, 8);
    case DataType::kFp8: return is(Code::kFloat8E4m3fn, 8);
    default: return false;
  }
}

/// As NumPy names it, where it can.
std::string name_of(dlpack::DType dtype) {
  constexpr std::array kKinds = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
  const auto code = static_cast<std::size_t>(dtype.code);
  const std::string bits = std::to_string(dtype.bits);
  std::string name = "of " + bits + " bits and DLPack's type " + std::to_string(code);
  if (dtype.code == dlpack::Code::kFloat8E4m3fn) name = "float8_e4m3fn";
  if (code < kKinds.size()) name = kKinds.at(code) + bits;
  if (dtype.code == dlpack::Code::kBool && dtype.bits == 8) name = "bool";
  return dtype.lanes == 1 ? name : name + " x " + std::to_string(dtype.lanes);
}

[[noreturn]] void refuse(const std::string& what, const std::string& fault) {
  throw InputError(what + " " + fault);
}

[[noreturn]] void refuse_dtype(const std::string& what, const std::string& given, DataType wanted) {
  refuse(what, "is " + given + " on the device; expected " + tensorrt::numpy_name(wanted) +
                   ": cast it there");
}

void check_device(const std::string& what, int given, int device) {
  if (given == device) return;
  refuse(what, "is on GPU " + std::to_string(given) + ", and the engine on GPU " +
                   std::to_string(device) + ": move it there, or load the engine on its GPU");
}

// A dimension of one element may have any stride.
void check_contiguous(const std::string& what, const Shape& shape, const std::int64_t* strides,
                      std::int64_t unit) {
  std::int64_t expected = unit;
  for (std::size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] > 1 && strides[axis] != expected) {
      refuse(what, "is not contiguous on the device: give x.contiguous(), or a copy in C order");
    }
    expected *= shape[axis];
  }
}

DeviceView from_dlpack(py::handle object, const std::string& what, DataType dtype, int device,
                       const std::optional<std::uintptr_t>& stream,
                       const cuda::Junction* junction) {
  const auto [_, given] = object.attr("__dlpack_device__")().cast<std::pair<int, int>>();
  check_device(what, given, device);
  std::uintptr_t consumer = stream ? *stream : reinterpret_cast<std::uintptr_t>(junction->stream());
  if (consumer == 0) consumer = kLegacyStream;
  py::capsule capsule;
  try {
    // A producer may lend what is on the current GPU only, and look at the current stream of that.
    const cuda::DeviceGuard guard(device);
    capsule = object.attr("__dlpack__")(py::arg("stream") = consumer);
  } catch (py::error_already_set& error) {
    refuse(what, std::string("cannot be shared through DLPack: ") + error.what());
  }
  auto* managed =
      static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), dlpack::kCapsule));
  if (managed == nullptr) {
    PyErr_Clear();
    refuse(what, "gives a DLPack capsule that is no 'dltensor'");
  }
  const dlpack::Tensor& tensor = managed->tensor;
  if (!matches(tensor.dtype, dtype)) refuse_dtype(what, name_of(tensor.dtype), dtype);
  Shape shape(tensor.shape, tensor.shape + tensor.ndim);
  if (tensor.strides != nullptr) check_contiguous(what, shape, tensor.strides, 1);
  auto* data = static_cast<std::byte*>(tensor.data) + tensor.byte_offset;
  return {data, std::move(shape), std::move(capsule)};  // which ends the loan when it is deleted
}

DeviceView from_array_interface(py::handle object, const std::string& what, DataType dtype,
                                int device, const std::optional<std::uintptr_t>& stream,
                                const cuda::Junction* junction) {
  const py::dict interface = object.attr("__cuda_array_interface__");
  const auto type = py::dtype::from_args(py::object(interface["typestr"]));
  if (!type.equal(numpy_dtype(dtype))) refuse_dtype(what, py::str(type), dtype);
  auto shape = interface["shape"].cast<Shape>();
  if (interface.contains("strides") && !interface["strides"].is_none()) {
    const auto strides = interface["strides"].cast<Shape>();
    check_contiguous(what, shape, strides.data(), type.itemsize());
  }
  const auto address = interface["data"].cast<py::tuple>()[0].cast<std::uintptr_t>();
  std::uintptr_t producer = kLegacyStream;  // what an interface that tells none is taken to mean
  if (interface.contains("stream") && !interface["stream"].is_none()) {
    producer = interface["stream"].cast<std::uintptr_t>();
  }
  auto* data = reinterpret_cast<std::byte*>(address);  // NOLINT(performance-no-int-to-ptr): as told
  {
    const ReleasedGil released;
    const cuda::DeviceGuard guard(device);  // each GPU has a legacy stream of its own
    if (data != nullptr) {
      cudaPointerAttributes attributes{};
      TRTFAST_CUDA(cudaPointerGetAttributes(&attributes, data));
      check_device(what, attributes.device, device);
    }
    if (!stream) {
      junction->add(as_stream(producer));
    } else if (as_stream(*stream) != as_stream(producer)) {
      const auto between = cuda::Junction::of(device);
      between->add(as_stream(producer));
      between->ready().hold(as_stream(*stream));
    }
  }
  return {data, std::move(shape), py::reinterpret_borrow<py::object>(object)};
}

}  // namespace

bool is_on_device(py::handle object) {
  if (py::hasattr(object, "__dlpack_device__")) {
    try {
      return object.attr("__dlpack_device__")().cast<py::tuple>()[0].cast<int>() == dlpack::kCuda;
    } catch (py::error_already_set&) {
      return false;
    }
  }
  return py::hasattr(object, "__cuda_array_interface__");
}

DeviceView device_view(py::handle object, const std::string& what, DataType dtype, int device,
                       const std::optional<std::uintptr_t>& stream,
                       const cuda::Junction* junction) {
  const bool has_dlpack = py::hasattr(object, "__dlpack_device__");
  return (has_dlpack ? from_dlpack : from_array_interface)(object, what, dtype, device, stream,
                                                           junction);
}

}  // namespace trtfast::bindings
