#include "onnx.h"

#include <utility>

namespace trtfast::test {
namespace {

// Protobuf's wire format: a field is its number and wire type, then a varint or a length and bytes.
std::string varint(std::uint64_t value) {
  constexpr std::uint64_t kLow = 0x7f;
  constexpr std::uint64_t kMore = 0x80;
  std::string bytes;
  for (; value > kLow; value >>= 7U) bytes += static_cast<char>((value & kLow) | kMore);
  return bytes + static_cast<char>(value);
}

std::string field(std::uint32_t number, std::int64_t value) {
  return varint(std::uint64_t{number} << 3U) + varint(static_cast<std::uint64_t>(value));
}

std::string field(std::uint32_t number, const std::string& bytes) {
  constexpr std::uint64_t kLengthDelimited = 2;
  return varint(std::uint64_t{number} << 3U | kLengthDelimited) + varint(bytes.size()) + bytes;
}

// The numbers are those of onnx.proto.
std::string encode(const OnnxValue& value) {
  std::string shape;
  for (const std::int64_t size : value.shape) {
    shape += field(1, size < 0 ? field(2, std::string("n")) : field(1, size));
  }
  const std::string tensor = field(1, static_cast<std::int64_t>(value.type)) + field(2, shape);
  return field(1, value.name) + field(2, field(1, tensor));
}

std::string encode(const OnnxNode& node) {
  constexpr std::int64_t kInt = 2;
  std::string bytes;
  for (const auto& input : node.inputs) bytes += field(1, input);
  for (const auto& output : node.outputs) bytes += field(2, output);
  bytes += field(3, node.name) + field(4, node.op);
  for (const auto& [name, value] : node.attributes) {
    bytes += field(5, field(1, name) + field(3, value) + field(20, kInt));
  }
  return bytes;
}

}  // namespace

std::string onnx_model(const std::vector<OnnxNode>& nodes, const std::vector<OnnxValue>& inputs,
                       const std::vector<OnnxValue>& outputs) {
  constexpr std::int64_t kIrVersion = 8;
  constexpr std::int64_t kOpset = 17;
  std::string graph;
  for (const auto& node : nodes) graph += field(1, encode(node));
  graph += field(2, std::string("graph"));
  for (const auto& input : inputs) graph += field(11, encode(input));
  for (const auto& output : outputs) graph += field(12, encode(output));
  return field(1, kIrVersion) + field(7, graph) + field(8, field(2, kOpset));
}

std::string onnx_relu(OnnxType type, const std::vector<std::int64_t>& shape) {
  return onnx_model({{"Relu", "activate", {"x"}, {"y"}}}, {{"x", type, shape}},
                    {{"y", type, shape}});
}

std::string onnx_expand() {
  return onnx_model({{"Expand", "spread", {"x", "shape"}, {"y"}}},
                    {{"x", OnnxType::kFloat, {1, 1}}, {"shape", OnnxType::kInt64, {2}}},
                    {{"y", OnnxType::kFloat, {-1, -1}}});
}

}  // namespace trtfast::test
