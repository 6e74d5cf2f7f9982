// Tensors as the core sees them: shapes, specifications, and contiguous host memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cuda/pool.h"
#include "tensorrt/types.h"

namespace trtfast {

using tensorrt::DataType;

/// -1 stands for a dimension that is dynamic or depends on data.
using Shape = std::vector<std::int64_t>;

/// @throws InputError for more dimensions than TensorRT allows.
[[nodiscard]] tensorrt::Dims to_dims(const Shape& shape);
/// @throws Error for TensorRT's way to say that it knows no shape.
[[nodiscard]] Shape to_shape(const tensorrt::Dims& dims);
[[nodiscard]] std::string str(const Shape& shape);
[[nodiscard]] bool is_dynamic(const Shape& shape) noexcept;

/// Bytes of a contiguous tensor.
/// @throws InputError for a shape with a -1, and for more bytes than a std::size_t counts.
[[nodiscard]] std::size_t byte_size(const Shape& shape, DataType dtype);

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
  bool on_host;                      // TensorRT reads or writes its value in host memory
  bool is_shape_value;               // TensorRT computes shapes from its value
  std::vector<ShapeRange> profiles;  // of a dynamic input, one for each profile; else empty
  std::vector<ShapeRange> values;    // of one whose value decides shapes, that value's; else empty
};

/// Where the bytes of a tensor lie.
enum class Memory : std::uint8_t {
  kPageable,  // host memory that the GPU cannot reach
  kPinned,    // page-locked host memory
  kDevice,    // memory of the engine's GPU
};

namespace images {
class Batch;
}

/// What goes to a place in a buffer.
struct Piece {
  std::size_t at;
  const std::byte* source;
  std::size_t bytes;
};

/// A contiguous tensor of the caller's; or what becomes one on its way to the GPU.
struct TensorView {
  const std::byte* data;
  Shape shape;
  DataType dtype;
  Memory memory = Memory::kPageable;
  // If one of these is set, there is no `data`.
  const images::Batch* images = nullptr;  // what the GPU makes it of
  std::span<const Piece> pieces = {};     // of pageable memory, that lie one after the other in it
};

/// Memory of the caller's that an output goes to.
struct OutputView {
  std::byte* data;
  Shape shape;
  Memory memory = Memory::kPageable;
};

/// A contiguous tensor in memory of its own: on the host, or on the device; in neither where the
/// output went to memory of the caller's.
struct Tensor {
  std::unique_ptr<std::byte[]> data;
  Shape shape;
  DataType dtype{};
  cuda::PooledMemory device = {};
};

/// What came of a call: its outputs, or why there are none.
struct Outcome {
  std::vector<Tensor> outputs;
  std::exception_ptr error;
};

/// Rows of a batch that belong to one of those who share it.
struct Share {
  std::int64_t rows;
  std::vector<Tensor>* outputs;  // where a tensor is added for each output of the batch
};

}  // namespace trtfast
