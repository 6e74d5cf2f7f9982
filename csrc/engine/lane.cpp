#include "engine/lane.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/memory.h"
#include "cuda/stream.h"
#include "error.h"
#include "kernels/normalize.h"
#include "tensorrt/callbacks.h"

namespace trtfast {
namespace {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::ErrorScope;
using tensorrt::Object;
using tensorrt::require;

// TensorRT wants addresses that are multiples of this, and one for every tensor, an empty one too.
constexpr std::size_t kAlignment = 256;
constexpr std::size_t kSmallestBuffer = kAlignment;
constexpr int kNoProfile = -1;

/// The memory of one tensor. As the sink of an output whose shape depends on data, it grows while
/// TensorRT runs.
struct Slot final : tensorrt::OutputSink {
  cuda::DeviceBuffer device;
  cuda::DeviceBuffer images;  // of an input that is made of images: their table and their bytes
  cuda::PinnedBuffer pinned;
  void* bound = nullptr;  // the address that the context knows
  Shape shape;
  bool second_half = false;    // of an input on the host: where in `pinned` its value is
  std::exception_ptr failure;  // why provide() had no memory
  bool told = true;            // whether the shape is that of the output's data

  void* provide(std::size_t bytes) noexcept override {
    try {
      device.reserve(std::max(bytes, kSmallestBuffer));
      return device.data();
    } catch (...) {
      failure = std::current_exception();  // it must not pass through TensorRT,
      return nullptr;                      // which fails the enqueue
    }
  }
  void set_shape(const tensorrt::Dims& dims) noexcept override {
    try {
      shape = to_shape(dims);
    } catch (...) {
      shape.clear();
      told = false;
      return;
    }
    told = true;
  }
};

}  // namespace

struct Lane::Resources {
  explicit Resources(const Plan& plan)
      : inputs(plan.inputs().size()),
        outputs(plan.outputs().size()),
        context(plan.contexts().make()) {
    for (auto& output : outputs) allocators.emplace_back(context.abi().generation(), output);
  }

  // The context comes last, to be destroyed before what it points to.
  cuda::Stream stream;
  int profile = 0;
  bool new_shapes = true;  // since the run before
  std::vector<Slot> inputs;
  std::vector<Slot> outputs;
  std::vector<tensorrt::OutputAllocator> allocators;
  Object context;

  void bind(const TensorSpec& spec, Slot& slot, void* address) const {
    if (slot.bound == address) return;
    const ErrorScope scope;
    require<Error>(context.call<VExecutionContext::setTensorAddress>(spec.name.c_str(), address),
                   "IExecutionContext::setTensorAddress", scope);
    slot.bound = address;
  }

  // TensorRT looks at a value on the host again only when its address is set: a value that is
  // overwritten in place gives an output of the new shape, computed for the old one.
  void set_host_value(const TensorSpec& spec, Slot& slot, std::span<const std::byte> value) {
    const std::size_t half = ((value.size() / kAlignment) + 1) * kAlignment;
    slot.pinned.reserve(2 * half);
    std::byte* const current = slot.pinned.data() + (slot.second_half ? half : 0);
    if (slot.bound == current && std::ranges::equal(value, std::span(current, value.size())))
      return;
    slot.second_half = !slot.second_half;
    std::byte* const next = slot.pinned.data() + (slot.second_half ? half : 0);
    std::ranges::copy(value, next);
    bind(spec, slot, next);
    new_shapes = true;
  }

  void send_images(Slot& slot, const TensorView& input) const {
    // The table goes in front of the images, so that one copy takes both.
    constexpr std::size_t kTableBytes = kernels::kTableSize * sizeof(float);
    const std::size_t bytes = byte_size(input.shape, DataType::kUint8);
    slot.pinned.reserve(kTableBytes + bytes);
    std::memcpy(slot.pinned.data(), input.table, kTableBytes);
    if (bytes > 0) std::memcpy(slot.pinned.data() + kTableBytes, input.data, bytes);
    slot.images.reserve(kTableBytes + bytes);
    TRTFAST_CUDA(cudaMemcpyAsync(slot.images.data(), slot.pinned.data(), kTableBytes + bytes,
                                 cudaMemcpyHostToDevice, stream.get()));
    kernels::normalize(reinterpret_cast<const std::uint8_t*>(slot.images.data() + kTableBytes),
                       input.shape[0], input.shape[2] * input.shape[3],
                       reinterpret_cast<const float*>(slot.images.data()), slot.device.data(),
                       input.dtype, stream.get());
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
    if (std::exchange(resources_->new_shapes, false)) plan_->note_shapes(inputs);
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
  auto* const stream = own.stream.get();
  const ErrorScope scope;
  const int profile = plan_->profile_for(inputs);
  if (profile != own.profile) {
    own.profile = kNoProfile;  // a failure on the way leaves neither profile nor shapes
    for (auto& slot : own.inputs) slot.shape.clear();
    require<Error>(
        own.context.call<VExecutionContext::setOptimizationProfileAsync>(profile, stream),
        "IExecutionContext::setOptimizationProfileAsync", scope);
    own.stream.synchronize();
    own.profile = profile;
  }
  for (std::size_t index = 0; index < inputs.size(); ++index) {
    const TensorSpec& spec = plan_->inputs()[index];
    const TensorView& input = inputs[index];
    Slot& slot = own.inputs[index];
    const std::size_t bytes = byte_size(input.shape, spec.dtype);

    if (is_dynamic(spec.shape) && slot.shape != input.shape) {
      const tensorrt::Dims dims = to_dims(input.shape);
      const bool accepted =
          own.context.call<VExecutionContext::setInputShape, const char*, const tensorrt::Dims&>(
              spec.name.c_str(), dims);
      require<InputError>(accepted, "IExecutionContext::setInputShape", scope);
      slot.shape = input.shape;
      own.new_shapes = true;
    }
    if (!spec.on_host) {
      slot.device.reserve(std::max(bytes, kSmallestBuffer));
      own.bind(spec, slot, slot.device.data());
    }
    if (input.table != nullptr) {
      own.send_images(slot, input);
      continue;
    }
    if (spec.on_host) {
      own.set_host_value(spec, slot, {input.data, bytes});
      continue;
    }
    slot.pinned.reserve(std::max(bytes, kSmallestBuffer));
    if (bytes > 0) std::memcpy(slot.pinned.data(), input.data, bytes);  // none: no address either
    TRTFAST_CUDA(cudaMemcpyAsync(slot.device.data(), slot.pinned.data(), bytes,
                                 cudaMemcpyHostToDevice, stream));
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
    slot.told = !is_dynamic(slot.shape);
    if (!slot.told) {  // known only once it has run
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
  const bool done =
      resources_->context.call<VExecutionContext::enqueueV3>(resources_->stream.get());
  for (auto& slot : resources_->outputs) {
    if (const auto failure = std::exchange(slot.failure, nullptr)) std::rethrow_exception(failure);
  }
  require<Error>(done, "IExecutionContext::enqueueV3", scope);
}

void Lane::copy_out() {
  Resources& own = *resources_;
  for (std::size_t index = 0; index < own.outputs.size(); ++index) {
    const TensorSpec& spec = plan_->outputs()[index];
    Slot& slot = own.outputs[index];
    if (!slot.told) throw Error("TensorRT did not tell the shape of output '" + spec.name + "'");
    const std::size_t bytes = byte_size(slot.shape, spec.dtype);
    if (bytes > (spec.on_host ? slot.pinned.size() : slot.device.size())) {
      throw Error("TensorRT gave output '" + spec.name + "' the shape " + str(slot.shape) +
                  ", which needs more memory than it asked for");
    }
    if (spec.on_host) continue;
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
