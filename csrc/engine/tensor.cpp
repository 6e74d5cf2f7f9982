#include "engine/tensor.h"

#include <algorithm>
#include <functional>
#include <numeric>

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
  return dims.nb < 0 ? Shape{} : Shape(dims.d, dims.d + dims.nb);
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

std::size_t byte_size(const Shape& shape, DataType dtype) noexcept {
  return std::accumulate(shape.begin(), shape.end(), tensorrt::item_size(dtype),
                         [](std::size_t product, std::int64_t size) {
                           return product * static_cast<std::size_t>(size);
                         });
}

bool ShapeRange::contains(const Shape& shape) const noexcept {
  return shape.size() == min.size() &&
         std::ranges::equal(min, shape, std::less_equal<>()) &&
         std::ranges::equal(shape, max, std::less_equal<>());
}

}  // namespace trtfast
