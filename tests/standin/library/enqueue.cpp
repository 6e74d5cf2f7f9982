// Enqueues: what must hold before them, and in a capture.
#include <algorithm>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "compute.h"
#include "context.h"
#include "cuda.h"
#include "release.h"

namespace standin {
namespace {

using ContextCall = Call<Context>;

Operand operand(const Context& context, const TensorDef& tensor) {
  void* address = context.bindings.at(tensor.name).address;
  return {tensor.name, address,       cuda().allocation(address), shape_of(context, tensor),
          tensor.type, tensor.on_host};
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
  output.allocation = cuda().allocation(output.address);
  const Dims dims = to_dims(output.shape);
  call_slot<void, const char*, const Dims&>(binding.allocator, reallocate_async + 1, name.c_str(),
                                            dims);
  return true;
}

bool check_order(ContextCall& call, void* stream) {
  if (cuda().current_device() != call->engine().device) {
    return call.violate("the engine's GPU is not the current one");
  }
  // What is captured runs with the graph's launches, which are checked then.
  if (!cuda().capturing(stream) && !call->last.before(stream)) {
    return call.violate("work of this context is under way in another stream");
  }
  if (!call->profile_change.before(stream)) {
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
  return check_activations(call);
}

/// What must hold before a capture, which fixes the kernels and all addresses.
bool check_capture(ContextCall& call) {
  if (kRelease.rtx() && call->kernels == KernelSpecialization::kLazy) {
    return call.violate(
        "in a capture, with lazy kernel specialization: the kernels would be frozen before they "
        "are specialized");
  }
  if (call->ran_with == call->arguments()) return true;
  return call.violate(
      "in a capture, but not run before with these shapes, addresses and device memory");
}

bool run(ContextCall& call, const Op& op, void* stream) {
  const Model& model = call->model();
  const TensorDef& tensor = *model.find(op.output);
  void* const activations = call->activations.memory;
  const Surroundings surroundings{&*call, activations, cuda().allocation(activations),
                                  users_activation_bytes(*call)};
  std::vector<Operand> inputs;
  inputs.reserve(op.inputs.size());
  for (const auto& input : op.inputs) inputs.push_back(operand(*call, *model.find(input)));
  Operand output = operand(*call, tensor);
  if (op.kind == "positive") {
    if (call->bindings[tensor.name].allocator == nullptr) {
      return call.violate("output " + tensor.name + " has no allocator, but depends on data");
    }
    if (!cuda().synchronize(stream)) {  // the shape depends on the data
      return call.refuse(
          "[stand-in] Error Code 1: Cuda Runtime (operation not permitted when stream is "
          "capturing)");
    }
    auto values = compute(op, inputs, {});
    output.shape = {static_cast<std::int64_t>(values.size() / sizeof(float))};
    return allocate(call, tensor.name, output, stream) &&
           launch_write(stream, surroundings, std::move(values), output);
  }
  if (output.address == nullptr && call->bindings[tensor.name].allocator != nullptr) {
    if (!allocate(call, tensor.name, output, stream)) return false;
  } else if (!check_memory(call, tensor, output)) {
    return false;
  }
  if (launch(stream, surroundings, op, inputs, output)) return true;
  return call.refuse("[stand-in] Error Code 1: Cuda Runtime (the stream takes no work)");
}

/// The enqueues of all contexts that are under way.
class Traffic {
 public:
  explicit Traffic(bool is_captured) : is_captured_(is_captured), is_safe_(enter(is_captured)) {}
  ~Traffic() {
    const std::scoped_lock lock(mutex());
    --(is_captured_ ? captured() : plain());
  }
  Traffic(const Traffic&) = delete;  // counts
  Traffic& operator=(const Traffic&) = delete;

  /// TensorRT-RTX crashes where a context runs while another one is captured.
  [[nodiscard]] bool is_safe() const noexcept { return is_safe_ || !kRelease.rtx(); }

 private:
  static bool enter(bool is_captured) {
    const std::scoped_lock lock(mutex());
    const bool is_safe = captured() == 0 && (!is_captured || plain() == 0);
    ++(is_captured ? captured() : plain());
    return is_safe;
  }
  static std::mutex& mutex() {
    static std::mutex made;
    return made;
  }
  static int& plain() {
    static int count = 0;
    return count;
  }
  static int& captured() {
    static int count = 0;
    return count;
  }

  bool is_captured_;
  bool is_safe_;
};

bool run_all(ContextCall& call, void* stream) {
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

bool enqueue(void* self, void* stream) noexcept {
  ContextCall call(self, "IExecutionContext::enqueueV3");
  if (!call || !check_order(call, stream)) return false;
  const bool is_captured = cuda().capturing(stream);
  const Traffic traffic(is_captured);
  if (!traffic.is_safe()) return call.violate("a context runs while another one is captured");
  if (is_captured) return check_capture(call) && run_all(call, stream);
  if (!claim_activations(call, stream)) return false;
  const bool done = run_all(call, stream);
  call->last = {stream, cuda().position(stream)};
  settle_activations(*call, call->last);
  if (done) call->ran_with = call->arguments();
  call->has_profile = done && call->profiler != nullptr;
  if (call->has_profile && call->emits_profile) {
    static_cast<void>(cuda().synchronize(stream));
    report(*call);
  }
  return done;
}

}  // namespace standin
