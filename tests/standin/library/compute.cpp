#include "compute.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include "context.h"
#include "cuda.h"
#include "recorder.h"

namespace standin {
namespace {

template <class T>
std::vector<std::byte> bytes(const std::vector<T>& values) {
  std::vector<std::byte> copy(values.size() * sizeof(T));
  if (!copy.empty()) std::memcpy(copy.data(), values.data(), copy.size());
  return copy;
}

std::vector<std::byte> read_bytes(const Operand& operand) {
  std::vector<std::byte> values(bytes_of(operand.shape, operand.type));
  if (values.empty()) return values;
  if (operand.on_host) {
    std::memcpy(values.data(), operand.address, values.size());
  } else {
    cuda().read(values.data(), operand.address, values.size());
  }
  return values;
}

std::vector<float> read_floats(const Operand& operand) {
  const auto raw = read_bytes(operand);
  std::vector<float> values(raw.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), raw.data(), raw.size());
  return values;
}

void write_bytes(const std::vector<std::byte>& values, const Operand& output) {
  if (values.empty()) return;
  if (output.on_host) {
    std::memcpy(output.address, values.data(), values.size());
  } else {
    cuda().write(output.address, values.data(), values.size());
  }
}

struct Work {
  Surroundings surroundings;
  Op op;
  std::vector<Operand> inputs;
  Operand output;
  std::vector<std::byte> values;  // where they are computed already
  bool computed;
  bool in_graph = false;  // which knows addresses alone: other memory may be there by now

  [[nodiscard]] bool copies() const { return !computed && op.kind == "copy"; }

  /// What is gone since the enqueue, in words; empty where nothing is.
  [[nodiscard]] std::string missing() const {
    if (!Recorder::instance().alive(surroundings.context)) return "the context";
    if (cuda().allocation(surroundings.activations) != surroundings.allocation) {
      return "the device memory of the context";
    }
    const auto is_gone = [this](const Operand& tensor) {
      const auto now = cuda().allocation(tensor.address);
      // A kernel in a graph knows addresses alone.
      return in_graph && !copies() ? now == 0 && tensor.allocation != 0 : now != tensor.allocation;
    };
    const auto gone = std::ranges::find_if(inputs, is_gone);
    if (gone != inputs.end()) return "the memory of " + gone->name;
    return is_gone(output) ? "the memory of " + output.name : std::string{};
  }

  static void run(void* argument) noexcept {  // by several graphs at a time
    const auto& work = *static_cast<const Work*>(argument);
    if (const auto gone = work.missing(); !gone.empty()) {
      Recorder::instance().violation("IExecutionContext::enqueueV3: " + gone +
                                     " was gone when its work ran");
      return;
    }
    write_bytes(work.computed ? work.values : compute(work.op, work.inputs, work.output.shape),
                work.output);
  }
  static void relaunch(void* argument, void* stream, std::uint64_t position) noexcept {
    claim_activations(static_cast<const Work*>(argument)->surroundings, {stream, position});
  }
  static void release(void* argument) noexcept { delete static_cast<Work*>(argument); }
};

bool launch_work(void* stream, std::unique_ptr<Work> work) {
  work->in_graph = cuda().capturing(stream);
  const bool copies = work->copies();
  return cuda().launch(stream,
                       {&Work::run, &Work::relaunch, &Work::release, work.release(), copies});
}

}  // namespace

std::size_t bytes_of(const Shape& shape, DataType type) noexcept {
  if (type == DataType::kInt64) return volume(shape) * 8;
  const bool is_half = type == DataType::kHalf || type == DataType::kBf16;
  return volume(shape) * (is_half ? 2 : 4);
}

Shape shape_values(const TensorDef& tensor, const void* address) {
  Shape values(volume(tensor.shape));
  if (tensor.type == DataType::kInt64) {
    std::memcpy(values.data(), address, values.size() * sizeof(std::int64_t));
    return values;
  }
  std::vector<std::int32_t> small(values.size());
  std::memcpy(small.data(), address, small.size() * sizeof(std::int32_t));
  values.assign(small.begin(), small.end());
  return values;
}

std::vector<std::byte> compute(const Op& op, const std::vector<Operand>& inputs,
                               const Shape& shape) {
  if (op.kind == "copy") return read_bytes(inputs[0]);
  if (op.kind == "shape") return bytes(inputs[0].shape);
  if (op.kind == "fill") {
    std::vector<float> values(volume(shape));
    std::iota(values.begin(), values.end(), 1.0F);
    return bytes(values);
  }
  auto values = read_floats(inputs[0]);
  if (op.kind == "affine") {
    for (auto& value : values) value = (op.scale * value) + op.offset;
  } else if (op.kind == "add") {
    const auto other = read_floats(inputs[1]);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += other[i];
  } else if (op.kind == "total") {
    const float sum = std::accumulate(values.begin(), values.end(), 0.F);
    for (auto& value : values) value += sum;
  } else if (op.kind == "positive") {
    std::erase_if(values, [](float value) { return value <= 0; });
  }
  return bytes(values);
}

bool launch(void* stream, const Surroundings& surroundings, const Op& op,
            const std::vector<Operand>& inputs, const Operand& output) {
  return launch_work(stream,
                     std::make_unique<Work>(Work{surroundings, op, inputs, output, {}, false}));
}

bool launch_write(void* stream, const Surroundings& surroundings, std::vector<std::byte> values,
                  const Operand& output) {
  return launch_work(
      stream, std::make_unique<Work>(Work{surroundings, {}, {}, output, std::move(values), true}));
}

}  // namespace standin
