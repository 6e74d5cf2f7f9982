#include "engine/profile.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "cuda/check.h"
#include "cuda/device.h"
#include "engine/executor.h"
#include "engine/slot.h"
#include "error.h"

namespace trtfast {
namespace {

/// Adds the times up; TensorRT may report on a thread of its own.
class Sums {
 public:
  void add(const char* layer, float milliseconds) {
    const std::scoped_lock lock(mutex_);
    const auto found = std::ranges::find(sums_, layer, &LayerTime::name);
    if (found != sums_.end()) {
      found->milliseconds += milliseconds;
    } else {
      sums_.push_back({layer, milliseconds});
    }
  }

  [[nodiscard]] std::vector<LayerTime> means(int runs) {
    const std::scoped_lock lock(mutex_);
    auto means = sums_;
    for (auto& layer : means) layer.milliseconds /= runs;
    return means;
  }

 private:
  std::mutex mutex_;
  std::vector<LayerTime> sums_;
};

/// All that a run needs, with the context last, to be destroyed before what it points to.
class Bench {
 public:
  Bench(const Plan& plan, const Request& request)
      : plan_(plan),
        request_(request),
        inputs_(plan.inputs().size()),
        outputs_(plan.outputs().size()),
        allocators_(allocators_for(plan, outputs_)),
        profiler_(plan.library().abi().generation(),
                  [this](const char* layer, float time) { sums_.add(layer, time); }),
        executor_(plan, plan.profile_for(request.inputs),
                  std::make_shared<Activations>(plan.contexts().activation_bytes(), Sharing::kLane),
                  stream_, allocators_) {}

  std::vector<LayerTime> run(int runs) {
    try {
      place_inputs();
      place_outputs();
      enqueue();  // which may compile kernels, and grow the memory of outputs
      executor_.report_to(profiler_);
      for (int run = 0; run < runs; ++run) {
        enqueue();
        executor_.report();
      }
    } catch (...) {
      static_cast<void>(cudaStreamSynchronize(stream_.get()));
      static_cast<void>(cudaGetLastError());
      throw;
    }
    return sums_.means(runs);
  }

 private:
  static std::vector<tensorrt::OutputAllocator> allocators_for(const Plan& plan,
                                                               std::vector<Slot>& outputs) {
    std::vector<tensorrt::OutputAllocator> allocators;
    allocators.reserve(outputs.size());
    for (auto& output : outputs) {
      allocators.emplace_back(plan.library().abi().generation(), output);
    }
    return allocators;
  }

  void place_inputs() {
    if (request_.inputs_ready != nullptr) request_.inputs_ready->hold(stream_.get());
    for (std::size_t index = 0; index < inputs_.size(); ++index) {
      const TensorView& input = request_.inputs[index];
      const std::size_t bytes = byte_size(input.shape, input.dtype);
      executor_.set_shape(index, input.shape);
      if (plan_.inputs()[index].on_host) {
        executor_.set_value(index, {input.data, bytes});
        continue;
      }
      Slot& slot = inputs_[index];
      slot.reserve_device(bytes);
      if (bytes > 0) {
        const auto kind =
            input.memory == Memory::kDevice ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice;
        TRTFAST_CUDA(cudaMemcpyAsync(slot.device.data(), input.data, bytes, kind, stream_.get()));
      }
      executor_.bind_input(index, slot.device.data());
    }
  }

  void place_outputs() {
    const auto shapes = executor_.output_shapes();
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
      const TensorSpec& spec = plan_.outputs()[index];
      if (is_dynamic(shapes[index])) {
        executor_.allocate_output(index);
        continue;
      }
      Slot& slot = outputs_[index];
      const std::size_t bytes = byte_size(shapes[index], spec.dtype);
      if (spec.on_host) {
        slot.reserve_pinned(bytes);
      } else {
        slot.reserve_device(bytes);
      }
      executor_.bind_output(index, spec.on_host ? slot.pinned.data() : slot.device.data());
    }
  }

  void enqueue() {
    {
      const Alone alone = plan_.contexts().alone();
      executor_.enqueue(stream_.get());
    }
    stream_.synchronize();
  }

  const Plan& plan_;
  const Request& request_;
  cuda::Stream stream_;
  std::vector<Slot> inputs_;
  std::vector<Slot> outputs_;
  std::vector<tensorrt::OutputAllocator> allocators_;
  Sums sums_;
  tensorrt::Profiler profiler_;
  Executor executor_;
};

}  // namespace

std::vector<LayerTime> profile(const Plan& plan, const Request& request, int runs) {
  if (runs < 1) throw InputError("runs must be 1 or more, not " + std::to_string(runs));
  const cuda::DeviceGuard guard(plan.device());
  return Bench(plan, request).run(runs);
}

}  // namespace trtfast
