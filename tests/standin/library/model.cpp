#include "model.h"

#include <algorithm>
#include <array>
#include <functional>
#include <sstream>
#include <utility>

namespace standin {
namespace {

bool read_shape(const std::string& word, Shape& shape) {
  shape.clear();
  if (word == "scalar") return true;
  std::istringstream stream(word);
  std::string part;
  while (std::getline(stream, part, ',')) shape.push_back(std::stoll(part));
  return !shape.empty();
}

bool read_type(const std::string& word, DataType& type) {
  constexpr std::array<std::pair<const char*, DataType>, 5> kTypes = {
      {{"float32", DataType::kFloat},
       {"float16", DataType::kHalf},
       {"bfloat16", DataType::kBf16},
       {"int32", DataType::kInt32},
       {"int64", DataType::kInt64}}};
  const auto* found = std::ranges::find(kTypes, word, [](const auto& pair) { return pair.first; });
  if (found == kTypes.end()) return false;
  type = found->second;
  return true;
}

bool read_tensor(std::istringstream& line, bool is_input, Model& model) {
  TensorDef tensor{};
  std::string type;
  std::string shape;
  std::string where;
  line >> tensor.name >> type >> shape >> where;
  tensor.is_input = is_input;
  tensor.is_shape_value = where == "shape";
  tensor.on_host = tensor.is_shape_value || where == "host";
  if (!read_type(type, tensor.type) || !read_shape(shape, tensor.shape)) return false;
  model.tensors.push_back(tensor);
  return true;
}

bool read_op(std::istringstream& line, Model& model) {
  Op op;
  std::string equals;
  line >> op.node >> op.output >> equals >> op.kind;
  if (op.kind == "affine") line >> op.scale >> op.offset;
  for (std::string input; line >> input;) op.inputs.push_back(input);
  const std::size_t wanted = op.kind == "add" ? 2 : 1;
  model.ops.push_back(op);
  return equals == "=" && op.inputs.size() == wanted;
}

bool read_profile(std::istringstream& line, Model& model) {
  std::size_t index = 0;
  std::string tensor;
  std::string what;
  std::array<std::string, 3> words;
  line >> index >> tensor >> what >> words[0] >> words[1] >> words[2];
  if (!line || index > model.profiles.size()) return false;
  if (index == model.profiles.size()) model.profiles.emplace_back();
  Range& range = model.profiles[index][tensor];
  return read_shape(words[0], range.min) && read_shape(words[1], range.opt) &&
         read_shape(words[2], range.max);
}

void read_failure(std::istringstream& line, Model& model) {
  std::string stage;
  Failure failure;
  line >> stage;
  if (stage == "parse" || stage == "build" || stage == "enqueue") line >> failure.subject;
  std::getline(line >> std::ws, failure.text);
  model.failures[stage] = failure;
}

bool read_line(const std::string& text, Model& model) {
  std::istringstream line(text);
  std::string word;
  line >> word;
  if (word.empty()) return true;
  if (word == "input" || word == "output") return read_tensor(line, word == "input", model);
  if (word == "op") return read_op(line, model);
  if (word == "profile") return read_profile(line, model);
  if (word == "fail") {
    read_failure(line, model);
    return true;
  }
  if (word == "memory") {
    std::string stage;
    line >> stage;
    return static_cast<bool>(line >> model.memory[stage]);
  }
  return false;
}

}  // namespace

Dims to_dims(const Shape& shape) noexcept {
  Dims dims{};
  dims.nb = static_cast<std::int32_t>(shape.size());
  std::ranges::copy(shape, dims.d);
  return dims;
}

Shape to_shape(const Dims& dims) {
  return dims.nb < 0 || dims.nb > Dims::kMax ? Shape{} : Shape(dims.d, dims.d + dims.nb);
}

std::string str(const Shape& shape) {
  std::string text;
  for (const auto size : shape) text += (text.empty() ? "" : ",") + std::to_string(size);
  return text.empty() ? "scalar" : text;
}

std::size_t volume(const Shape& shape) noexcept {
  std::size_t product = 1;
  for (const auto size : shape) product *= static_cast<std::size_t>(size);
  return product;
}

bool is_dynamic(const Shape& shape) noexcept {
  return std::ranges::any_of(shape, [](auto size) { return size < 0; });
}

bool Range::contains(const Shape& shape) const noexcept {
  return std::ranges::equal(min, shape, std::less_equal<>()) &&
         std::ranges::equal(shape, max, std::less_equal<>());
}

const TensorDef* Model::find(const std::string& tensor) const noexcept {
  const auto found = std::ranges::find(tensors, tensor, &TensorDef::name);
  return found != tensors.end() ? &*found : nullptr;
}

const Op* Model::producer(const std::string& output) const noexcept {
  const auto found = std::ranges::find(ops, output, &Op::output);
  return found != ops.end() ? &*found : nullptr;
}

std::optional<std::string> read(const std::string& text, Model& model) {
  model.text = text;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    try {
      if (!read_line(line, model)) return "cannot read '" + line + "'";
    } catch (const std::exception&) {
      return "a number is malformed in '" + line + "'";
    }
  }
  for (const auto& op : model.ops) {
    const TensorDef* output = model.find(op.output);
    const bool known = output != nullptr && !output->is_input &&
                       std::ranges::all_of(op.inputs, [&](const std::string& input) {
                         const TensorDef* tensor = model.find(input);
                         return tensor != nullptr && tensor->is_input;
                       });
    if (!known) return "node " + op.node + " reads or writes a tensor that is not there";
  }
  for (const auto& tensor : model.tensors) {
    if (!tensor.is_input && model.producer(tensor.name) == nullptr) {
      return "nothing computes " + tensor.name;
    }
  }
  if (model.tensors.empty()) return "the model is empty";
  return std::nullopt;
}

}  // namespace standin
