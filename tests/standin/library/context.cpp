// Execution contexts: what they remember, and what must hold before they run.
#include <algorithm>
#include <cstdint>
#include <utility>

#include "compute.h"
#include "context.h"
#include "cuda.h"
#include "release.h"

namespace standin {
namespace {

const Range* range_of(const Context& context, const std::string& input) {
  const auto& profiles = context.model().profiles;
  if (profiles.empty()) return nullptr;
  const auto& ranges = profiles[static_cast<std::size_t>(context.profile)];
  const auto found = ranges.find(input);
  return found != ranges.end() ? &found->second : nullptr;
}

}  // namespace

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

std::string overwritten(const Call<Context>& call) {
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

namespace {

constexpr Dims kNoDims{-1, {}};

using ContextCall = Call<Context>;

/// A tensor by its name, which must be right.
const TensorDef* tensor(ContextCall& call, const char* name) {
  if (!call) return nullptr;
  const TensorDef* found = name != nullptr ? call->model().find(name) : nullptr;
  if (found == nullptr) call.violate("the engine has no tensor " + quoted(name));
  return found;
}

bool set_profile(void* self, std::int32_t index, void* stream) noexcept {
  ContextCall call(self, "IExecutionContext::setOptimizationProfileAsync", std::to_string(index));
  if (!call) return false;
  const std::size_t count = std::max<std::size_t>(1, call->model().profiles.size());
  if (index < 0 || std::cmp_greater_equal(index, count)) {
    return call.violate("the engine has " + std::to_string(count) + " profiles");
  }
  if (!call->last.reached()) return call.violate("work of this context is still under way");
  call->profile = index;
  call->profile_change = {stream, cuda().position(stream)};
  call->forget_shapes();
  const std::size_t lacking = allocate_activations(*call);
  return lacking == 0 || call.refuse(out_of_memory(lacking));
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

Arguments Context::arguments() const {
  Arguments now{profile, {}, activations.memory};
  for (const auto& [name, binding] : bindings) now.tensors[name] = {binding.shape, binding.address};
  return now;
}

void Context::dispose() noexcept {
  if (!last.reached()) {
    recorder->violation("~IExecutionContext: its work is still under way");
  }
  if (cuda().current_device() != engine().device) {
    recorder->violation("~IExecutionContext: the engine's GPU is not the current one");
  }
  if (profiler != nullptr && kRelease.modern() && !is_interface(profiler, "IProfiler")) {
    recorder->violation("~IExecutionContext: its profiler is gone");
  }
  forget_activations(*this);
  if (activations.strategy != ContextAllocation::kUserManaged) cuda().release(activations.memory);
}

void report(Context& context) noexcept {
  context.has_profile = false;
  float milliseconds = 0;
  for (const auto& op : context.model().ops) {
    milliseconds += 10;
    call_slot<void, const char*, float>(context.profiler, kRelease.modern() ? 4 : 0,
                                        op.node.c_str(),
                                        milliseconds + static_cast<float>(context.enqueues));
  }
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
  table.set<setProfiler>([](void* self, void* profiler) noexcept {
    ContextCall call(self, "IExecutionContext::setProfiler");
    if (!call) return;
    if (profiler != nullptr && kRelease.modern() && !is_interface(profiler, "IProfiler")) {
      call.violate("this is no IProfiler");
      return;
    }
    call->profiler = profiler;
  });
  table.set<setEnqueueEmitsProfile>([](void* self, bool emits) noexcept {
    const ContextCall call(self, "IExecutionContext::setEnqueueEmitsProfile",
                           std::to_string(static_cast<int>(emits)));
    if (call) call->emits_profile = emits;
  });
  table.set<reportToProfiler>([](void* self) noexcept {
    ContextCall call(self, "IExecutionContext::reportToProfiler");
    if (!call) return false;
    if (call->emits_profile) return true;
    if (!call->has_profile) {
      return call.refuse("[stand-in] Error Code 3: API Usage Error (there is no run to report)");
    }
    if (!call->last.reached()) return call.violate("the run has not ended");
    report(*call);
    return true;
  });
  table.set<setDeviceMemory>([](void* self, void* memory) noexcept {
    ContextCall call(self, "IExecutionContext::setDeviceMemory");
    set_activations(call, memory, std::nullopt);
  });
  table.set<setDeviceMemoryV2>([](void* self, void* memory, std::int64_t size) noexcept {
    ContextCall call(self, "IExecutionContext::setDeviceMemoryV2", std::to_string(size));
    set_activations(call, memory, size);
  });
  table.set<getTensorShape>([](void* self, const char* name) noexcept {
    ContextCall call(self, "IExecutionContext::getTensorShape", quoted(name));
    const TensorDef* found = tensor(call, name);
    return found != nullptr ? to_dims(shape_of(*call, *found)) : kNoDims;
  });
  return table;
}

}  // namespace standin
