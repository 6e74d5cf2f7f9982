// The "models" of the stand-in: a tiny text format, one statement a line.
//
//   input x float32 -1,4            a tensor on the device
//   input n int64 2 shape           a shape tensor: on the host, its values decide shapes
//   output y float32 -1,4
//   output s int64 2 host
//   op node_a y = affine 2 1 x      y = 2x + 1
//   op node_b z = add x y2          element by element
//   op node_h t = total x           each element, with the sum of all
//   op node_g h = copy x            any dtype
//   op node_c p = positive x        the positive elements: their number depends on the data
//   op node_d f = fill n            1, 2, 3 … in the shape that n's values give
//   op node_e s = shape x           x's shape
//   fail parse|build NODE TEXT      this node makes the parser or the build fail
//   fail load TEXT                  and so on, with `fail context TEXT`
//   fail enqueue NUMBER TEXT        this enqueue of a context, counted from 1, fails
//   memory build|load|context N     out of memory, with N bytes requested
//   profile INDEX NAME dims|values MIN OPT MAX        written by the build
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tensorrt/types.h"

namespace standin {

using Shape = std::vector<std::int64_t>;
using trtfast::tensorrt::DataType;
using trtfast::tensorrt::Dims;

[[nodiscard]] Dims to_dims(const Shape& shape) noexcept;
[[nodiscard]] Shape to_shape(const Dims& dims);
[[nodiscard]] std::string str(const Shape& shape);  // as in "-1,4"; "scalar" where it is empty
[[nodiscard]] std::size_t volume(const Shape& shape) noexcept;
[[nodiscard]] bool is_dynamic(const Shape& shape) noexcept;

struct TensorDef {
  std::string name;
  DataType type;
  Shape shape;
  bool is_input;
  bool on_host;
  bool is_shape_value;

  [[nodiscard]] bool needs_profile() const { return is_dynamic(shape) || is_shape_value; }
};

struct Op {
  std::string node;
  std::string output;
  std::string kind;
  float scale = 0;
  float offset = 0;
  std::vector<std::string> inputs;
};

struct Range {
  Shape min, opt, max;
  /// Dims, or the values of a shape tensor.
  [[nodiscard]] bool contains(const Shape& shape) const noexcept;
};

struct Failure {
  std::string subject;  // a node, or the number of an enqueue
  std::string text;
};

struct Model {
  std::string text;
  std::vector<TensorDef> tensors;
  std::vector<Op> ops;
  std::map<std::string, Failure> failures;      // by stage
  std::map<std::string, std::uint64_t> memory;  // by stage
  std::vector<std::map<std::string, Range>> profiles;

  [[nodiscard]] const TensorDef* find(const std::string& tensor) const noexcept;
  [[nodiscard]] const Op* producer(const std::string& output) const noexcept;
};

/// Reads a model; an error's text where it is malformed.
[[nodiscard]] std::optional<std::string> read(const std::string& text, Model& model);

/// A plan: TensorRT's header, as far as trtfast reads it, and the text.
[[nodiscard]] std::string make_plan(const std::string& text);

/// The text of a plan of this release, else why it is none.
[[nodiscard]] std::optional<std::string> open_plan(const void* bytes, std::size_t size,
                                                   std::string& text);

}  // namespace standin
