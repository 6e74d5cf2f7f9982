#include "engine/tensor.h"

#include <algorithm>
#include <functional>

#include "error.h"

namespace trtfast {

tensorrt::Dims to_dims(const Shape& shape) {
  tensorrt::Dims dims{};
  if (shape.size() > tensorrt::Dims::kMax) {
    throw InputError("shape " + str(shape) + " has " + std::to_string(shape.size()) +
                     " dimensions: TensorRT allows at most 8");
  }
  dims.nb = static_cast<std::int32_t>(shape.size());
  std::ranges::copy(shape, dims.d);
  return dims;
}

Shape to_shape(const tensorrt::Dims& dims) {
  if (dims.nb < 0 || dims.nb > tensorrt::Dims::kMax) {
    throw Error("TensorRT knows no shape, where it must: it counts " + std::to_string(dims.nb) +
                " dimensions");
  }
  return {dims.d, dims.d + dims.nb};
}

std::string str(const Shape& shape) {
  std::string text = "(";
  for (std::size_t axis = 0; axis < shape.size(); ++axis) {
    text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  }
  return text + (shape.size() == 1 ? ",)" : ")");
}

bool is_dynamic(const Shape& shape) noexcept {
  return std::ranges::any_of(shape, [](std::int64_t size) { return size < 0; });
}

std::size_t byte_size(const Shape& shape, DataType dtype) {
  if (is_dynamic(shape)) throw InputError("the shape " + str(shape) + " is not known");
  if (std::ranges::find(shape, 0) != shape.end()) return 0;  // whatever the other sizes are
  std::size_t bytes = tensorrt::item_size(dtype);
  for (const std::int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<std::size_t>(size), &bytes)) {
      throw InputError("a tensor of shape " + str(shape) + " is larger than any memory");
    }
  }
  return bytes;
}

bool ShapeRange::contains(const Shape& shape) const noexcept {
  return shape.size() == min.size() && std::ranges::equal(min, shape, std::less_equal<>()) &&
         std::ranges::equal(shape, max, std::less_equal<>());
}

}  // namespace trtfast
