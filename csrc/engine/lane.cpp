#include "engine/lane.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/memory.h"
#include "cuda/stream.h"
#include "error.h"
#include "tensorrt/callbacks.h"

namespace trtfast {
namespace {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::ErrorScope;
using tensorrt::Object;
using tensorrt::require;

// TensorRT wants an address for every tensor, an empty one too.
constexpr std::size_t kSmallestBuffer = 256;

/// The memory of one tensor. As the sink of an output whose shape depends on data, it grows while
/// TensorRT runs.
struct Slot final : tensorrt::OutputSink {
  cuda::DeviceBuffer device;
  cuda::PinnedBuffer pinned;
  void* bound = nullptr;  // the address that the context knows
  Shape shape;

  void* provide(std::size_t bytes) noexcept override {
    try {
      device.reserve(std::max(bytes, kSmallestBuffer));
      return device.data();
    } catch (const Error&) {
      return nullptr;  // TensorRT fails the enqueue, which reports it
    }
  }
  void set_shape(const tensorrt::Dims& dims) noexcept override { shape = to_shape(dims); }
};

Object create_context(const Plan& plan) {
  const ErrorScope scope;
  const auto& engine = plan.engine();
  void* context = nullptr;
  if (engine->abi().has(tensorrt::Capability::kKernelSpecialization)) {
    const Object config(engine->library(),
                        require<Error>(engine->call<VCudaEngine::createRuntimeConfig>(),
                                       "ICudaEngine::createRuntimeConfig", scope),
                        engine);
    // Lazy specialisation changes kernels, and so the last bits, in the middle of traffic.
    config.call<VRuntimeConfig::setDynamicShapesKernelSpecializationStrategy>(
        tensorrt::KernelSpecialization::kEager);
    context = engine->call<VCudaEngine::createExecutionContextWithRuntimeConfig>(config.get());
  } else {
    context = engine->call<VCudaEngine::createExecutionContext>(tensorrt::ContextAllocation::kStatic);
  }
  return {engine->library(),
          require<Error>(context, "ICudaEngine::createExecutionContext", scope), engine};
}

}  // namespace

struct Lane::Resources {
  explicit Resources(const Plan& plan)
      : inputs(plan.inputs().size()), outputs(plan.outputs().size()), context(create_context(plan)) {
    for (auto& output : outputs) allocators.emplace_back(context.abi().generation(), output);
  }

  // The context comes last, to be destroyed before what it points to.
  cuda::Stream stream;
  int profile = 0;
  std::vector<Slot> inputs;
  std::vector<Slot> outputs;
  std::vector<tensorrt::OutputAllocator> allocators;
  Object context;

  void bind(const TensorSpec& spec, Slot& slot, void* address) {
    if (slot.bound == address) return;
    const ErrorScope scope;
    require<Error>(context.call<VExecutionContext::setTensorAddress>(spec.name.c_str(), address),
                   "IExecutionContext::setTensorAddress", scope);
    slot.bound = address;
  }
};

Lane::Lane(std::shared_ptr<const Plan> plan) : plan_(std::move(plan)) {
  const cuda::DeviceGuard guard(plan_->device());
  resources_ = std::make_unique<Resources>(*plan_);
}

Lane::~Lane() {
  cuda::release_on(plan_->device(), [this] { resources_.reset(); });
}

std::vector<Tensor> Lane::run(std::span<const TensorView> inputs) {
  const cuda::DeviceGuard guard(plan_->device());
  const cuda::Stream& stream = resources_->stream;
  try {
    bind_inputs(inputs);
    bind_outputs();
    enqueue();
    copy_out();
    stream.synchronize();
  } catch (...) {
    // Copies may still be under way in buffers that the next call would overwrite.
    static_cast<void>(cudaStreamSynchronize(stream.get()));
    static_cast<void>(cudaGetLastError());
    throw;
  }
  return collect();
}

void Lane::bind_inputs(std::span<const TensorView> inputs) {
  Resources& own = *resources_;
  const ErrorScope scope;
  const int profile = plan_->profile_for(inputs);
  if (profile != own.profile) {
    require<Error>(own.context.call<VExecutionContext::setOptimizationProfileAsync>(
                       profile, own.stream.get()),
                   "IExecutionContext::setOptimizationProfileAsync", scope);
    own.stream.synchronize();
    own.profile = profile;
    for (auto& slot : own.inputs) slot.shape.clear();
  }
  for (std::size_t index = 0; index < inputs.size(); ++index) {
    const TensorSpec& spec = plan_->inputs()[index];
    const TensorView& input = inputs[index];
    Slot& slot = own.inputs[index];
    const std::size_t bytes = byte_size(input.shape, spec.dtype);

    if (is_dynamic(spec.shape) && slot.shape != input.shape) {
      const tensorrt::Dims dims = to_dims(input.shape);
      const bool accepted = own.context.call<VExecutionContext::setInputShape, const char*,
                                             const tensorrt::Dims&>(spec.name.c_str(), dims);
      require<InputError>(accepted, "IExecutionContext::setInputShape", scope);
      slot.shape = input.shape;
    }
    slot.pinned.reserve(std::max(bytes, kSmallestBuffer));
    std::memcpy(slot.pinned.data(), input.data, bytes);
    if (spec.on_host) {
      own.bind(spec, slot, slot.pinned.data());
      continue;
    }
    slot.device.reserve(std::max(bytes, kSmallestBuffer));
    own.bind(spec, slot, slot.device.data());
    TRTFAST_CUDA(cudaMemcpyAsync(slot.device.data(), slot.pinned.data(), bytes,
                                 cudaMemcpyHostToDevice, own.stream.get()));
  }
}

void Lane::bind_outputs() {
  Resources& own = *resources_;
  const ErrorScope scope;
  require<InputError>(
      own.context.call<VExecutionContext::inferShapes, std::int32_t, const char**>(0, nullptr) == 0,
      "IExecutionContext::inferShapes", scope);
  for (std::size_t index = 0; index < own.outputs.size(); ++index) {
    const TensorSpec& spec = plan_->outputs()[index];
    Slot& slot = own.outputs[index];
    slot.shape = to_shape(own.context.call<VExecutionContext::getTensorShape>(spec.name.c_str()));
    if (is_dynamic(slot.shape)) {  // known only once it has run
      require<Error>(own.context.call<VExecutionContext::setOutputAllocator>(
                         spec.name.c_str(), own.allocators[index].object()),
                     "IExecutionContext::setOutputAllocator", scope);
      continue;
    }
    const std::size_t bytes = std::max(byte_size(slot.shape, spec.dtype), kSmallestBuffer);
    slot.pinned.reserve(bytes);
    if (!spec.on_host) slot.device.reserve(bytes);
    own.bind(spec, slot, spec.on_host ? slot.pinned.data() : slot.device.data());
  }
}

void Lane::enqueue() {
  const ErrorScope scope;
  require<Error>(resources_->context.call<VExecutionContext::enqueueV3>(resources_->stream.get()),
                 "IExecutionContext::enqueueV3", scope);
}

void Lane::copy_out() {
  Resources& own = *resources_;
  for (std::size_t index = 0; index < own.outputs.size(); ++index) {
    const TensorSpec& spec = plan_->outputs()[index];
    Slot& slot = own.outputs[index];
    if (spec.on_host) continue;
    const std::size_t bytes = byte_size(slot.shape, spec.dtype);
    slot.pinned.reserve(std::max(bytes, kSmallestBuffer));
    TRTFAST_CUDA(cudaMemcpyAsync(slot.pinned.data(), slot.device.data(), bytes,
                                 cudaMemcpyDeviceToHost, own.stream.get()));
  }
}

std::vector<Tensor> Lane::collect() const {
  std::vector<Tensor> outputs;
  for (std::size_t index = 0; index < resources_->outputs.size(); ++index) {
    const Slot& slot = resources_->outputs[index];
    const DataType dtype = plan_->outputs()[index].dtype;
    const std::size_t bytes = byte_size(slot.shape, dtype);
    auto data = std::make_unique_for_overwrite<std::byte[]>(bytes);
    std::memcpy(data.get(), slot.pinned.data(), bytes);
    outputs.push_back({std::move(data), slot.shape, dtype});
  }
  return outputs;
}

}  // namespace trtfast
