// Tensors as the core sees them: shapes, specifications, and contiguous host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensorrt/types.h"

namespace trtfast {

using tensorrt::DataType;

/// -1 stands for a dimension that is dynamic or depends on data.
using Shape = std::vector<std::int64_t>;

[[nodiscard]] tensorrt::Dims to_dims(const Shape& shape);
[[nodiscard]] Shape to_shape(const tensorrt::Dims& dims);
[[nodiscard]] std::string str(const Shape& shape);
[[nodiscard]] bool is_dynamic(const Shape& shape) noexcept;

/// Bytes of a contiguous tensor whose shape has no -1.
[[nodiscard]] std::size_t byte_size(const Shape& shape, DataType dtype) noexcept;

/// The shapes that one optimisation profile allows for an input.
struct ShapeRange {
  Shape min;
  Shape opt;
  Shape max;

  [[nodiscard]] bool contains(const Shape& shape) const noexcept;
};

/// An input or output of an engine.
struct TensorSpec {
  std::string name;
  DataType dtype;
  Shape shape;
  bool on_host;  // TensorRT reads or writes its value in host memory
  bool is_shape_value;  // TensorRT computes shapes from its value
  std::vector<ShapeRange> profiles;  // of a dynamic input, one for each profile; else empty
};

/// A contiguous tensor in host memory of the caller's.
struct TensorView {
  const std::byte* data;
  Shape shape;
  DataType dtype;
};

/// A contiguous tensor in host memory of its own.
struct Tensor {
  std::unique_ptr<std::byte[]> data;
  Shape shape;
  DataType dtype;
};

}  // namespace trtfast
