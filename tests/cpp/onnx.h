// ONNX models, written by hand: the few protobuf fields that a small graph needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trtfast::test {

/// ONNX's numbers of the dtypes in use here.
enum class OnnxType : std::uint8_t { kFloat = 1, kInt64 = 7, kHalf = 10 };

struct OnnxValue {
  std::string name;
  OnnxType type;
  std::vector<std::int64_t> shape;  // -1 is dynamic
};

struct OnnxNode {
  std::string op;
  std::string name;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  // NOLINTNEXTLINE(readability-redundant-member-init): says that it may be left out
  std::vector<std::pair<std::string, std::int64_t>> attributes = {};
};

/// The serialised model.
[[nodiscard]] std::string onnx_model(const std::vector<OnnxNode>& nodes,
                                     const std::vector<OnnxValue>& inputs,
                                     const std::vector<OnnxValue>& outputs);

/// y = Relu(x), in a node named "activate".
[[nodiscard]] std::string onnx_relu(OnnxType type, const std::vector<std::int64_t>& shape);

/// y = Expand(x, shape), where x has one element and `shape` is an input that decides y's shape.
[[nodiscard]] std::string onnx_expand();

[[nodiscard]] inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

}  // namespace trtfast::test
