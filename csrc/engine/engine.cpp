#include "engine/engine.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "cuda/device.h"
#include "cuda/fork.h"
#include "cuda/memory.h"
#include "cuda/nvtx.h"
#include "error.h"
#include "images/batch.h"

namespace trtfast {
namespace {

std::size_t checked_lanes(int lanes) {
  if (lanes < 1) throw InputError("lanes must be 1 or more, not " + std::to_string(lanes));
  return static_cast<std::size_t>(lanes);
}

// Names and the user's mistakes are the caller's to explain; here is what memory safety needs.
void check_input(const TensorSpec& spec, const Shape& shape, DataType dtype) {
  bool fits = dtype == spec.dtype && shape.size() == spec.shape.size();
  for (std::size_t axis = 0; fits && axis < spec.shape.size(); ++axis) {
    fits = spec.shape[axis] < 0 ? shape[axis] >= 0 : shape[axis] == spec.shape[axis];
  }
  if (!fits) {
    throw InputError("input '" + spec.name + "' must be " + tensorrt::numpy_name(spec.dtype) + " " +
                     str(spec.shape) + ", not " + tensorrt::numpy_name(dtype) + " " + str(shape));
  }
}

void check_shapes(const std::vector<TensorSpec>& inputs, std::span<const Shape> shapes) {
  if (shapes.size() != inputs.size()) {
    throw InputError("the engine has " + std::to_string(inputs.size()) +
                     " inputs, and shapes are given for " + std::to_string(shapes.size()));
  }
  for (std::size_t index = 0; index < shapes.size(); ++index) {
    check_input(inputs[index], shapes[index], inputs[index].dtype);
  }
}

bool has_rows(const TensorSpec& spec) { return !spec.shape.empty() && spec.shape.front() < 0; }

// Page-locked memory, whoever made it, is sent and filled without a copy. Where there is little to
// copy, asking takes longer.
void find_pinned(Request& request, const std::vector<TensorSpec>& outputs) {
  constexpr std::size_t kWorthAsking = std::size_t{64} << 10U;
  const auto find = [](auto& tensor, DataType dtype) {
    if (tensor.memory == Memory::kPageable && byte_size(tensor.shape, dtype) > kWorthAsking &&
        cuda::is_pinned(tensor.data)) {
      tensor.memory = Memory::kPinned;
    }
  };
  for (auto& input : request.inputs) {
    if (input.data != nullptr) find(input, input.dtype);
  }
  for (std::size_t index = 0; index < request.outputs.size(); ++index) {
    find(request.outputs[index], outputs[index].dtype);
  }
}

void check_paddable(const Plan& plan) {
  const auto dynamic = [](const TensorSpec& spec) { return is_dynamic(spec.shape); };
  const bool inputs = std::ranges::all_of(
      plan.inputs(), [&](const TensorSpec& spec) { return !dynamic(spec) || has_rows(spec); });
  if (inputs && std::ranges::all_of(plan.outputs(), has_rows) && !plan.has_values()) return;
  throw InputError(
      "pad_to_bucket adds rows and takes them away again: it needs an engine whose dynamic inputs "
      "and whose outputs all have the batch as their first axis");
}

}  // namespace

Engine::Engine(const std::shared_ptr<const tensorrt::Library>& library,
               std::span<const std::byte> plan, const EngineOptions& options)
    : plan_(std::make_shared<const Plan>(library, plan, options.device,
                                         options.allow_unsupported_gpu, options.kernels)),
      shared_([&]() -> std::shared_ptr<Activations> {
        if (options.activations == Sharing::kLane) return nullptr;
        const cuda::DeviceGuard guard(options.device);
        return std::make_shared<Activations>(plan_->contexts().activation_bytes(),
                                             Sharing::kShared);
      }()),
      device_(options.device),
      inputs_(plan_->inputs()),
      outputs_(plan_->outputs()),
      traced_as_(options.traced_as),
      pool_(
          [this, lane = options.lane] {
            const cuda::DeviceGuard guard(device_);
            return std::make_unique<Lane>(this->plan(), lane, shared_, stats_);
          },
          [this](std::unique_ptr<Lane> lane) {
            cuda::release_on(device_, [&lane] { lane.reset(); });
          },
          checked_lanes(options.lanes), options.max_queue),
      async_(
          [this](const Request& request, LanePool::Place place, const Deadline& deadline,
                 Timeline& times) {
            return run([&] { return &request; }, std::move(place), deadline, times);
          },
          checked_lanes(options.lanes)) {
  if (options.lane.pad_to_bucket) check_paddable(*plan_);
}

Engine::~Engine() { close(); }

std::shared_ptr<const Plan> Engine::plan() const {
  const std::scoped_lock lock(mutex_);
  if (plan_ == nullptr) throw ClosedError("the engine is closed: load it again");
  return plan_;
}

bool Engine::take_new_kernels() const {
  const std::scoped_lock lock(mutex_);
  return plan_ != nullptr && plan_->take_new_kernels();
}

std::vector<std::byte> Engine::kernels() const {
  std::shared_ptr<const Plan> open;
  {
    const std::scoped_lock lock(mutex_);
    open = plan_;
  }
  return open != nullptr ? open->kernels() : std::vector<std::byte>();
}

void Engine::check(const Request& request) const {
  cuda::check_not_stale();
  if (request.inputs.size() != inputs().size()) {
    throw InputError("the engine takes " + std::to_string(inputs().size()) + " inputs, not " +
                     std::to_string(request.inputs.size()));
  }
  for (std::size_t index = 0; index < request.inputs.size(); ++index) {
    const TensorView& input = request.inputs[index];
    check_input(inputs()[index], input.shape, input.dtype);
    if (input.memory == Memory::kDevice && inputs()[index].on_host) {
      throw InputError("input '" + inputs()[index].name +
                       "' decides shapes by its values, which TensorRT reads on the host: give a "
                       "NumPy array");
    }
    if (request.stream && input.memory != Memory::kDevice) {
      throw InputError(
          "input '" + inputs()[index].name +
          "' is on the host: with stream=, all inputs must be on the device, since the "
          "call does not wait for copies");
    }
  }
  if (!request.outputs.empty() && request.outputs.size() != outputs().size()) {
    throw InputError("the engine gives " + std::to_string(outputs().size()) +
                     " outputs, and out= " + std::to_string(request.outputs.size()));
  }
  if (!request.stream) return;
  if (std::ranges::any_of(outputs(), &TensorSpec::on_host)) {
    throw InputError("stream= needs outputs on the device, and this engine gives one on the host");
  }
  const auto on_device = [](const OutputView& output) { return output.memory == Memory::kDevice; };
  if (request.outputs.empty() ? !request.device_outputs
                              : !std::ranges::all_of(request.outputs, on_device)) {
    throw InputError(
        "with stream=, all outputs must be on the device, since the call does not wait for copies");
  }
}

std::vector<Tensor> Engine::infer(Request request, const Deadline& deadline) {
  Timeline times;
  check(request);
  find_pinned(request, outputs());
  return run([&] { return &request; }, pool_.enter(), deadline, times);
}

std::uint64_t Engine::infer_async(Request request, const Deadline& deadline,
                                  AsyncCalls::Done done) {
  check(request);
  find_pinned(request, outputs());
  return async_.add(
      std::move(request), [this] { return pool_.enter(); }, deadline, std::move(done));
}

void Engine::infer_batch(const std::function<const Request*()>& make, Timeline& times) {
  cuda::check_not_stale();
  const auto checked = [&] {
    const Request* request = make();
    if (request != nullptr) check(*request);
    return request;
  };
  static_cast<void>(run(checked, pool_.enter_any_queue(), {}, times));
}

template <class Make>
std::vector<Tensor> Engine::run(const Make& make, LanePool::Place place, const Deadline& deadline,
                                Timeline& times) {
  cuda::Trace trace(traced_as_);
  trace.part("queue");
  try {
    const auto lane = std::move(place).lease(deadline);
    times.started = Clock::now();
    const Request* request = make();
    if (request == nullptr) return {};
    const cuda::DeviceGuard guard(device_);
    auto outputs = lane->run(*request, times, trace);
    times.done = Clock::now();
    stats_.add(times);
    return outputs;
  } catch (...) {
    stats_.failures.fetch_add(1, std::memory_order_relaxed);
    throw;
  }
}

Request Engine::image_request(const images::Batch& batch) const {
  const TensorSpec& spec = inputs().front();
  if (spec.on_host || spec.shape.size() != 4 || !kernels::can_preprocess_to(spec.dtype)) {
    throw InputError("input '" + spec.name + "' of dtype " + tensorrt::numpy_name(spec.dtype) +
                     " and shape " + str(spec.shape) + " does not take images");
  }
  TensorView input{nullptr, batch.shape(), spec.dtype};
  input.images = &batch;
  return {{std::move(input)}};
}

void Engine::warm_up(std::vector<std::vector<Shape>> shapes) {
  cuda::check_not_stale();
  const auto open = plan();
  if (open->has_values()) {
    throw InputError(
        "warmup runs with zeros, and this engine computes shapes from values: run it "
        "with your own inputs instead");
  }
  if (shapes.empty()) {
    for (int profile = 0; profile < open->profiles(); ++profile) {
      auto& set = shapes.emplace_back();
      for (const auto& spec : inputs()) {
        set.push_back(spec.profiles.empty() ? spec.shape
                                            : spec.profiles[static_cast<std::size_t>(profile)].opt);
      }
    }
  }
  for (const auto& set : shapes) check_shapes(inputs(), set);
  // The largest first, so that buffers grow once and no graph is captured in vain.
  std::ranges::sort(shapes, std::greater());
  pool_.for_each([&](Lane& lane) {
    const cuda::DeviceGuard guard(device_);
    for (const auto& set : shapes) lane.warm_up(set);
  });
}

std::vector<LayerTime> Engine::profile(const Request& request, int runs) {
  check(request);
  const auto lane = pool_.enter().lease();
  return trtfast::profile(*plan(), request, runs);
}

std::vector<Shape> Engine::output_shapes(std::span<const Shape> shapes) {
  cuda::check_not_stale();
  if (plan()->has_values()) {
    throw InputError("the outputs' shapes follow from values, and not from the inputs' shapes");
  }
  check_shapes(inputs(), shapes);
  const auto lane = pool_.enter().lease();
  const cuda::DeviceGuard guard(device_);
  return lane->output_shapes(shapes);
}

MemoryReport Engine::memory() {
  const std::scoped_lock lock(mutex_);
  return {pool_.memory(), shared_ != nullptr ? shared_->size() : 0};
}

void Engine::close() {
  if (cuda::in_stale_child()) return;  // its threads and its GPU stayed with the parent
  pool_.refuse();  // so that those who wait are told now, and not after the calls under way
  async_.stop();
  pool_.close();
  std::shared_ptr<const Plan> plan;
  std::shared_ptr<Activations> shared;
  {
    const std::scoped_lock lock(mutex_);
    plan.swap(plan_);
    shared.swap(shared_);
  }
  cuda::release_on(device_, [&shared] { shared.reset(); });
}

}  // namespace trtfast
