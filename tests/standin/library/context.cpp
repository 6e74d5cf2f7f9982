// Execution contexts: what they remember, and what must hold before they run.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "call.h"
#include "compute.h"
#include "cuda.h"
#include "objects.h"
#include "release.h"

namespace standin {
namespace {

constexpr std::uintptr_t kAlignment = 256;
constexpr Dims kNoDims{-1, {}};

using ContextCall = Call<Context>;

bool is_aligned(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0;
}

/// A tensor by its name, which must be right.
const TensorDef* tensor(ContextCall& call, const char* name) {
  if (!call) return nullptr;
  const TensorDef* found = name != nullptr ? call->model().find(name) : nullptr;
  if (found == nullptr) call.violate("the engine has no tensor " + quoted(name));
  return found;
}

const Range* range_of(const Context& context, const std::string& input) {
  const auto& profiles = context.model().profiles;
  if (profiles.empty()) return nullptr;
  const auto& ranges = profiles[static_cast<std::size_t>(context.profile)];
  const auto found = ranges.find(input);
  return found != ranges.end() ? &found->second : nullptr;
}

/// A tensor's shape now; -1 where it is not known yet.
Shape shape_of(const Context& context, const TensorDef& tensor) {
  const Model& model = context.model();
  if (tensor.is_input) return context.bindings.at(tensor.name).shape;
  const Op& op = *model.producer(tensor.name);
  if (op.kind == "positive") return {-1};
  const TensorDef& input = *model.find(op.inputs[0]);
  const Binding& binding = context.bindings.at(input.name);
  if (op.kind == "shape") return tensor.shape;
  if (op.kind == "fill") {
    return binding.address != nullptr ? shape_values(input, binding.address) : tensor.shape;
  }
  return binding.shape;
}

/// Why the inputs do not fit together; empty where they do.
std::string contradiction(const Context& context) {
  for (const auto& input : context.model().tensors) {
    const void* address = context.bindings.at(input.name).address;
    if (!input.is_shape_value || address == nullptr) continue;
    const Range* range = range_of(context, input.name);
    const Shape values = shape_values(input, address);
    if (range != nullptr && !range->contains(values)) {
      return "the values " + str(values) + " of shape tensor " + input.name +
             " are outside the profile";
    }
  }
  for (const auto& op : context.model().ops) {
    if (op.kind == "add" &&
        context.bindings.at(op.inputs[0]).shape != context.bindings.at(op.inputs[1]).shape) {
      return "the inputs of node " + op.node + " have different shapes";
    }
  }
  return {};
}

bool set_profile(void* self, std::int32_t index, void* stream) noexcept {
  ContextCall call(self, "IExecutionContext::setOptimizationProfileAsync", std::to_string(index));
  if (!call) return false;
  const std::size_t count = std::max<std::size_t>(1, call->model().profiles.size());
  if (index < 0 || std::cmp_greater_equal(index, count)) {
    return call.violate("the engine has " + std::to_string(count) + " profiles");
  }
  if (call->last_stream != nullptr && !cuda().idle(call->last_stream)) {
    return call.violate("work of this context is still under way");
  }
  call->profile = index;
  call->profile_stream = stream;
  call->forget_shapes();
  return true;
}

bool set_input_shape(void* self, const char* name, const Dims& dims) noexcept {
  const Shape shape = to_shape(dims);
  ContextCall call(self, "IExecutionContext::setInputShape", quoted(name) + ", " + str(shape));
  const TensorDef* input = tensor(call, name);
  if (input == nullptr) return false;
  if (!input->is_input) return call.violate(quoted(name) + " is no input");
  if (!std::cmp_equal(dims.nb, input->shape.size()) || is_dynamic(shape)) {
    return call.violate("the shape must be known and of the input's rank");
  }
  const Range* range = input->is_shape_value ? nullptr : range_of(*call, name);
  if (range != nullptr ? !range->contains(shape) : shape != input->shape) {
    return call.violate(str(shape) + " is outside profile " + std::to_string(call->profile) +
                        " of " + quoted(name));
  }
  Binding& binding = call->bindings[name];
  binding.shape = shape;
  binding.has_shape = true;
  return true;
}

bool set_address(void* self, const char* name, void* address) noexcept {
  ContextCall call(self, "IExecutionContext::setTensorAddress", quoted(name));
  const TensorDef* found = tensor(call, name);
  if (found == nullptr) return false;
  if (address == nullptr && found->is_input) return call.violate("the address is null");
  if (!is_aligned(address)) return call.violate("the address is not aligned to 256 bytes");
  Binding& binding = call->bindings[name];
  if (binding.address != address) binding.has_values = false;
  binding.address = address;
  return true;
}

bool set_allocator(void* self, const char* name, void* allocator) noexcept {
  ContextCall call(self, "IExecutionContext::setOutputAllocator", quoted(name));
  const TensorDef* found = tensor(call, name);
  if (found == nullptr) return false;
  if (found->is_input) return call.violate(quoted(name) + " is no output");
  if (allocator != nullptr && !is_interface(allocator, "IOutputAllocator")) {
    return call.violate("this is no IOutputAllocator");
  }
  call->bindings[name].allocator = allocator;
  return true;
}

/// TensorRT reads a value that decides shapes once for each address: the inputs whose value was
/// overwritten in place since.
std::string overwritten(const ContextCall& call) {
  for (const auto& input : call->model().tensors) {
    Binding& binding = call->bindings[input.name];
    if (!input.is_shape_value || binding.address == nullptr) continue;
    const Shape values = shape_values(input, binding.address);
    if (binding.has_values && binding.values != values) return input.name;
    binding.values = values;
    binding.has_values = true;
  }
  return {};
}

std::int32_t infer_shapes(void* self, std::int32_t max_names, const char** names) noexcept {
  ContextCall call(self, "IExecutionContext::inferShapes", std::to_string(max_names));
  if (!call) return -1;
  if (const auto input = overwritten(call); !input.empty()) {
    call.violate("the value of " + input + " was overwritten at the same address");
    return -1;
  }
  std::int32_t lacking = 0;
  for (const auto& input : call->model().tensors) {
    const Binding& binding = call->bindings[input.name];
    const bool known = !input.is_input ||
                       (binding.has_shape && (!input.is_shape_value || binding.address != nullptr));
    if (known) continue;
    if (names != nullptr && lacking < max_names) names[lacking] = input.name.c_str();
    ++lacking;
  }
  if (lacking > 0) return lacking;
  const std::string reason = contradiction(*call);
  if (reason.empty()) return 0;
  call.refuse("[stand-in] Error Code 3: API Usage Error (" + reason + ")");
  return -1;
}

Operand operand(const Context& context, const TensorDef& tensor) {
  return {context.bindings.at(tensor.name).address, shape_of(context, tensor), tensor.type,
          tensor.on_host};
}

bool check_memory(ContextCall& call, const TensorDef& tensor, const Operand& memory) {
  if (memory.address == nullptr) return call.violate("no address is set for " + tensor.name);
  const std::size_t bytes = bytes_of(memory.shape, tensor.type);
  const std::size_t room = cuda().room(memory.address);
  if (room == 0) return call.violate("the address of " + tensor.name + " is no live memory");
  if (room >= bytes) return true;
  return call.violate("the memory of " + tensor.name + " has " + std::to_string(room) +
                      " bytes, fewer than " + std::to_string(bytes));
}

/// Has the user's allocator give the memory of an output of known shape, and tells it the shape.
bool allocate(ContextCall& call, const std::string& name, Operand& output, void* stream) {
  const Binding& binding = call->bindings[name];
  // TensorRT has reallocateOutput before the other two, which TensorRT-RTX dropped.
  const std::size_t reallocate_async = kRelease.rtx() ? 4 : 5;
  const std::size_t bytes = std::max<std::size_t>(1, bytes_of(output.shape, output.type));
  output.address =
      call_slot<void*>(binding.allocator, reallocate_async, name.c_str(), binding.address,
                       std::uint64_t{bytes}, std::uint64_t{kAlignment}, stream);
  if (output.address == nullptr) {
    return call.refuse("[stand-in] Error Code 1: the output allocator gave no memory for " + name);
  }
  if (!is_aligned(output.address) || cuda().room(output.address) < bytes) {
    return call.violate("the output allocator gave too little or unaligned memory for " + name);
  }
  const Dims dims = to_dims(output.shape);
  call_slot<void, const char*, const Dims&>(binding.allocator, reallocate_async + 1, name.c_str(),
                                            dims);
  return true;
}

bool check_order(ContextCall& call, void* stream) {
  if (cuda().current_device() != call->engine().device) {
    return call.violate("the engine's GPU is not the current one");
  }
  const auto pending_elsewhere = [stream](void* other) {
    return other != nullptr && other != stream && !cuda().idle(other);
  };
  if (pending_elsewhere(call->last_stream)) {
    return call.violate("work of this context is under way in another stream");
  }
  if (pending_elsewhere(call->profile_stream)) {
    return call.violate("the profile is being changed in another stream");
  }
  for (const auto& input : call->model().tensors) {
    if (!input.is_input) continue;
    if (!call->bindings[input.name].has_shape) {
      return call.violate("the shape of " + input.name + " is not set");
    }
    if (!check_memory(call, input, operand(*call, input))) return false;
  }
  if (const auto input = overwritten(call); !input.empty()) {
    return call.violate("the value of " + input + " was overwritten at the same address");
  }
  if (const auto reason = contradiction(*call); !reason.empty()) return call.violate(reason);
  return true;
}

bool run(ContextCall& call, const Op& op, void* stream) {
  const Model& model = call->model();
  const TensorDef& tensor = *model.find(op.output);
  std::vector<Operand> inputs;
  inputs.reserve(op.inputs.size());
  for (const auto& input : op.inputs) inputs.push_back(operand(*call, *model.find(input)));
  Operand output = operand(*call, tensor);
  if (op.kind == "positive") {
    if (call->bindings[tensor.name].allocator == nullptr) {
      return call.violate("output " + tensor.name + " has no allocator, but depends on data");
    }
    cuda().synchronize(stream);  // the shape depends on the data
    auto values = compute(op, inputs, {});
    output.shape = {static_cast<std::int64_t>(values.size() / sizeof(float))};
    return allocate(call, tensor.name, output, stream) &&
           launch_write(stream, std::move(values), output);
  }
  if (output.address == nullptr && call->bindings[tensor.name].allocator != nullptr) {
    if (!allocate(call, tensor.name, output, stream)) return false;
  } else if (!check_memory(call, tensor, output)) {
    return false;
  }
  if (launch(stream, op, inputs, output)) return true;
  return call.refuse("[stand-in] Error Code 1: Cuda Runtime (the stream takes no work)");
}

bool enqueue(void* self, void* stream) noexcept {
  ContextCall call(self, "IExecutionContext::enqueueV3");
  if (!call || !check_order(call, stream)) return false;
  call->last_stream = stream;
  ++call->enqueues;
  const auto failure = call->model().failures.find("enqueue");
  if (failure != call->model().failures.end() &&
      failure->second.subject == std::to_string(call->enqueues)) {
    return call.refuse("[stand-in] Error Code 1: " + failure->second.text);
  }
  return std::ranges::all_of(call->model().ops,
                             [&](const Op& op) { return run(call, op, stream); });
}

}  // namespace

void Context::forget_shapes() {
  for (const auto& tensor : model().tensors) {
    if (!tensor.is_input) {
      bindings[tensor.name];  // known, with nothing set
      continue;
    }
    Binding& binding = bindings[tensor.name];
    binding.shape = tensor.shape;
    binding.has_shape = !is_dynamic(tensor.shape);
  }
}

void Context::dispose() noexcept {
  if (last_stream != nullptr && !cuda().idle(last_stream)) {
    recorder->violation("~IExecutionContext: its work is still under way");
  }
  if (cuda().current_device() != engine().device) {
    recorder->violation("~IExecutionContext: the engine's GPU is not the current one");
  }
  cuda().release(scratch);
}

VTable Context::make_table() {
  using namespace method::VExecutionContext;  // NOLINT(google-build-using-namespace): names
  VTable table;
  table.set<setOptimizationProfileAsync>(&set_profile);
  table.set<setInputShape>(&set_input_shape);
  table.set<setTensorAddress>(&set_address);
  table.set<setOutputAllocator>(&set_allocator);
  table.set<inferShapes>(&infer_shapes);
  table.set<enqueueV3>(&enqueue);
  table.set<getTensorShape>([](void* self, const char* name) noexcept {
    ContextCall call(self, "IExecutionContext::getTensorShape", quoted(name));
    const TensorDef* found = tensor(call, name);
    return found != nullptr ? to_dims(shape_of(*call, *found)) : kNoDims;
  });
  return table;
}

}  // namespace standin
