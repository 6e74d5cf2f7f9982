#include "engine/executor.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "engine/slot.h"
#include "error.h"

namespace trtfast {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::ErrorScope;
using tensorrt::require;

Executor::Executor(const Plan& plan, int profile, std::shared_ptr<Activations> activations,
                   const cuda::Stream& stream, std::span<tensorrt::OutputAllocator> sinks)
    : plan_(plan),
      activations_(std::move(activations)),
      sinks_(sinks),
      shapes_(plan.inputs().size()),
      inputs_(plan.inputs().size()),
      outputs_(plan.outputs().size()),
      values_(plan.inputs().size()),
      context_(plan.contexts().make()) {
  Contexts::set_activations(context_, activations_->data(), activations_->size());
  if (profile == 0) return;  // as a context is made
  const ErrorScope scope;
  require<Error>(context_.call<VExecutionContext::setOptimizationProfileAsync, std::int32_t, void*>(
                     profile, stream.get()),
                 "IExecutionContext::setOptimizationProfileAsync", scope);
  stream.synchronize();
}

void Executor::set_shape(std::size_t input, const Shape& shape) {
  if (!is_dynamic(plan_.inputs()[input].shape) || shapes_[input] == shape) return;
  const ErrorScope scope;
  shapes_[input].clear();  // a failure leaves none
  has_changed_ = true;
  const tensorrt::Dims dims = to_dims(shape);
  require<InputError>(
      context_.call<VExecutionContext::setInputShape, const char*, const tensorrt::Dims&>(
          plan_.inputs()[input].name.c_str(), dims),
      "IExecutionContext::setInputShape", scope);
  shapes_[input] = shape;
}

void Executor::bind_input(std::size_t input, const void* address) {
  if (inputs_[input] == address) return;
  const ErrorScope scope;
  inputs_[input] = nullptr;
  require<Error>(context_.call<VExecutionContext::setTensorAddress>(
                     plan_.inputs()[input].name.c_str(), const_cast<void*>(address)),
                 "IExecutionContext::setTensorAddress", scope);
  inputs_[input] = address;
}

// TensorRT looks at a value on the host again only when its address is set: a value that is
// overwritten in place gives an output of the new shape, computed for the old one.
void Executor::set_value(std::size_t input, std::span<const std::byte> value) {
  Value& kept = values_[input];
  const std::size_t half = ((value.size() / kAlignment) + 1) * kAlignment;
  kept.memory.reserve(2 * half);
  const std::byte* current = kept.memory.data() + (kept.in_second_half ? half : 0);
  if (inputs_[input] == current && std::ranges::equal(value, std::span(current, value.size()))) {
    return;
  }
  kept.in_second_half = !kept.in_second_half;
  std::byte* const next = kept.memory.data() + (kept.in_second_half ? half : 0);
  std::ranges::copy(value, next);
  bind_input(input, next);
}

void Executor::bind_output(std::size_t output, void* address) {
  if (outputs_[output] == address) return;
  const ErrorScope scope;
  outputs_[output] = nullptr;
  require<Error>(context_.call<VExecutionContext::setTensorAddress>(
                     plan_.outputs()[output].name.c_str(), address),
                 "IExecutionContext::setTensorAddress", scope);
  outputs_[output] = address;
}

std::vector<Shape> Executor::output_shapes() const {
  const ErrorScope scope;
  require<InputError>(
      context_.call<VExecutionContext::inferShapes, std::int32_t, const char**>(0, nullptr) == 0,
      "IExecutionContext::inferShapes", scope);
  std::vector<Shape> shapes;
  for (const auto& spec : plan_.outputs()) {
    shapes.push_back(to_shape(context_.call<VExecutionContext::getTensorShape>(spec.name.c_str())));
  }
  return shapes;
}

void Executor::allocate_output(std::size_t output) {
  const ErrorScope scope;
  require<Error>(context_.call<VExecutionContext::setOutputAllocator>(
                     plan_.outputs()[output].name.c_str(), sinks_[output].object()),
                 "IExecutionContext::setOutputAllocator", scope);
}

void Executor::enqueue(cudaStream_t stream) {
  const ErrorScope scope;
  changes_ += std::exchange(has_changed_, false) ? 1 : 0;
  require<Error>(context_.call<VExecutionContext::enqueueV3, void*>(stream),
                 "IExecutionContext::enqueueV3", scope);
}

bool Executor::is_worn() const noexcept {
  const auto most = plan_.contexts().most_changes();
  return most && changes_ >= *most;
}

void Executor::report_to(const tensorrt::Profiler& profiler) {
  context_.call<VExecutionContext::setProfiler>(profiler.object());
  // Else each enqueue would wait for its end.
  context_.call<VExecutionContext::setEnqueueEmitsProfile>(false);
}

void Executor::report() const {
  const ErrorScope scope;
  require<Error>(context_.call<VExecutionContext::reportToProfiler>(),
                 "IExecutionContext::reportToProfiler", scope);
}

}  // namespace trtfast
