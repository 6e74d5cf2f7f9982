#include "engine/lane.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "cuda/check.h"
#include "cuda/device.h"
#include "engine/transfer.h"
#include "error.h"
#include "kernels/normalize.h"

namespace trtfast {
namespace {

bool is_aligned(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0;
}

void copy_async(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                cudaStream_t stream) {
  if (bytes > 0) TRTFAST_CUDA(cudaMemcpyAsync(to, from, bytes, kind, stream));
}

void check_shape(const TensorSpec& spec, const OutputView& given, const Shape& shape) {
  if (given.shape == shape) return;
  throw InputError("out: output '" + spec.name + "' has the shape " + str(shape) +
                   " for these inputs, and the array given for it " + str(given.shape));
}

}  // namespace

/// A run under way.
struct Lane::Run {
  const Request& request;
  cudaStream_t stream;
  std::vector<Shape> shapes;  // of the inputs, as the engine gets them
  std::optional<std::int64_t> rows = {};  // how many of them are the caller's, if not all
  Bucket* bucket = nullptr;
  Executor* executor = nullptr;
  Variant* variant = nullptr;
  std::vector<const void*> addresses = {};  // of inputs, then outputs; null where on the host
  bool copies_out = false;
  bool news = false;  // in what the lane holds
  std::vector<Tensor> results = {};

  [[nodiscard]] const OutputView* view(std::size_t output) const {
    return request.outputs.empty() ? nullptr : &request.outputs[output];
  }
  /// Whether an output ends in page-locked memory of the lane's, for the caller to get a copy.
  [[nodiscard]] bool is_staged(std::size_t output) const {
    const auto* given = view(output);
    return given != nullptr ? given->memory == Memory::kPageable : !request.device_outputs;
  }
  /// The caller's rows of an output.
  [[nodiscard]] Shape cut(Shape shape) const {
    if (rows && !shape.empty()) shape[0] = *rows;
    return shape;
  }
};

Lane::Lane(std::shared_ptr<const Plan> plan, const LaneOptions& options,
           std::shared_ptr<Activations> activations, Stats& stats)
    : plan_(std::move(plan)),
      options_(options),
      stats_(stats),
      done_(options.wait),
      inputs_(plan_->inputs().size()),
      outputs_(plan_->outputs().size()),
      activations_(std::move(activations)),
      own_activations_(activations_ == nullptr),
      executors_(static_cast<std::size_t>(plan_->profiles())) {
  if (own_activations_) {
    activations_ =
        std::make_shared<Activations>(plan_->contexts().activation_bytes(), Sharing::kLane);
  }
  for (auto& output : outputs_) {
    allocators_.emplace_back(plan_->library().abi().generation(), output);
  }
  static_cast<void>(executor_of(0));
  note_memory();
}

Lane::~Lane() {
  if (in_flight_) static_cast<void>(cudaEventSynchronize(submitted_.get()));
}

Executor& Lane::executor_of(int profile) {
  auto& executor = executors_[static_cast<std::size_t>(profile)];
  if (executor == nullptr) {
    executor = std::make_unique<Executor>(*plan_, profile, activations_, stream_, allocators_);
  }
  return *executor;
}

std::vector<Tensor> Lane::run(const Request& request, Timeline& times) {
  Run run{request, request.stream.value_or(stream_.get()), {}};
  try {
    find_bucket(run);
    place(run);
    // What a caller's stream still does with this lane comes first.
    if (std::exchange(in_flight_, false)) submitted_.hold(run.stream);
    if (request.inputs_ready != nullptr) request.inputs_ready->hold(run.stream);
    copy_in(run);
    times.sent = Clock::now();
    launch(run);
    copy_out(run);
    wait_for(run);
    times.computed = Clock::now();
    capture(run);
    if (!std::exchange(run.bucket->has_run, true)) plan_->note_shapes(request.inputs);
    if (run.news) note_memory();
    return collect(run);
  } catch (...) {
    // Copies may still be under way in buffers that the next call would overwrite.
    static_cast<void>(cudaStreamSynchronize(run.stream));
    static_cast<void>(cudaGetLastError());
    throw;
  }
}

void Lane::find_bucket(Run& run) {
  run.shapes.reserve(run.request.inputs.size());
  for (const auto& input : run.request.inputs) run.shapes.push_back(input.shape);
  run.bucket = buckets_.find(run.shapes);
  if (run.bucket == nullptr && options_.pad_to_bucket) {
    if (const Bucket* wider = buckets_.find_wider(run.shapes)) {
      const auto padded = std::ranges::mismatch(run.shapes, wider->inputs).in1;
      run.rows = padded->front();
      run.shapes = wider->inputs;
      run.bucket = buckets_.find(run.shapes);
      stats_.padded.fetch_add(1, std::memory_order_relaxed);
    }
  }
  if (run.bucket != nullptr && plan_->has_values()) {  // the outputs' shapes follow from values too
    buckets_.drop(*run.bucket);
    run.bucket = nullptr;
  }
  if (run.bucket == nullptr) run.bucket = &make_bucket(run);
  run.executor = &executor_of(run.bucket->profile);
}

Bucket& Lane::make_bucket(const Run& run) {
  const int profile = plan_->profile_for(run.request.inputs);
  Executor& executor = executor_of(profile);
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    executor.set_shape(index, run.shapes[index]);
    if (!plan_->inputs()[index].on_host) continue;
    const TensorView& input = run.request.inputs[index];
    executor.set_value(index, {input.data, byte_size(input.shape, input.dtype)});
  }
  auto outputs = executor.output_shapes();
  const bool known = std::ranges::none_of(outputs, is_dynamic);
  return buckets_.add({profile, run.shapes, std::move(outputs), known && !plan_->has_values()});
}

// Decides where each tensor is on the device: where the caller has it, if TensorRT can use that, else
// in the lane's own memory.
void Lane::place(Run& run) {
  bool moved = false;
  run.addresses.reserve(inputs_.size() + outputs_.size());
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    const TensorSpec& spec = plan_->inputs()[index];
    const TensorView& input = run.request.inputs[index];
    if (spec.on_host) {
      run.addresses.push_back(nullptr);
    } else if (input.memory == Memory::kDevice && !run.rows && is_aligned(input.data) &&
               input.data != nullptr) {
      run.addresses.push_back(input.data);
    } else {
      moved |= inputs_[index].reserve_device(byte_size(run.shapes[index], spec.dtype));
      run.addresses.push_back(inputs_[index].device.data());
    }
  }
  run.results.resize(outputs_.size());
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    const TensorSpec& spec = plan_->outputs()[index];
    run.results[index].dtype = spec.dtype;
    const Shape& shape = run.bucket->outputs[index];
    if (is_dynamic(shape)) {  // known only once it has run
      run.addresses.push_back(nullptr);
      continue;
    }
    const Shape cut = run.cut(shape);
    if (const auto* given = run.view(index)) check_shape(spec, *given, cut);
    const std::size_t bytes = byte_size(shape, spec.dtype);
    if (spec.on_host || run.is_staged(index)) moved |= outputs_[index].reserve_pinned(bytes);
    if (spec.on_host) {
      run.addresses.push_back(nullptr);
      continue;
    }
    run.copies_out |= run.is_staged(index);
    const auto* given = run.view(index);
    const void* target = nullptr;
    if (given != nullptr && given->memory == Memory::kDevice) {
      target = given->data;
    } else if (given == nullptr && run.request.device_outputs) {
      run.results[index].device =
          cuda::PooledMemory(plan_->device(), byte_size(cut, spec.dtype), run.stream);
      target = run.results[index].device.data();
    }
    if (target == nullptr || run.rows || !is_aligned(target)) {
      moved |= outputs_[index].reserve_device(bytes);
      target = outputs_[index].device.data();
    }
    run.addresses.push_back(target);
  }
  if (moved) buckets_.drop_graphs();
  run.news = moved;
  run.variant = &Buckets::variant(*run.bucket, run.addresses, run.copies_out);
}

void Lane::copy_in(Run& run) {
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    const TensorSpec& spec = plan_->inputs()[index];
    const TensorView& input = run.request.inputs[index];
    Slot& slot = inputs_[index];
    if (spec.on_host) continue;  // make_bucket() has given its value
    auto* const target = slot.device.data();
    if (run.addresses[index] != target) continue;  // it is where the caller has it
    const std::size_t bytes = byte_size(input.shape, spec.dtype);
    if (input.table != nullptr) {
      send_images(slot, input, run.stream);
    } else if (input.memory == Memory::kPageable) {
      slot.pinned.reserve(bytes);
      send(target, slot.pinned.data(), input.data, bytes, run.stream, options_.wait);
    } else {
      copy_async(target, input.data, bytes,
                 input.memory == Memory::kDevice ? cudaMemcpyDeviceToDevice
                                                 : cudaMemcpyHostToDevice,
                 run.stream);
    }
    if (run.rows) {  // rows that nobody asked for
      const std::size_t whole = byte_size(run.shapes[index], spec.dtype);
      TRTFAST_CUDA(cudaMemsetAsync(target + bytes, 0, whole - bytes, run.stream));
    }
  }
}

void Lane::send_images(Slot& slot, const TensorView& input, cudaStream_t stream) {
  // The table goes in front of the images, so that it travels with the first of them.
  constexpr std::size_t kTableBytes = kernels::kTableSize * sizeof(float);
  const std::size_t bytes = byte_size(input.shape, DataType::kUint8);
  slot.pinned.reserve(kTableBytes + bytes);
  slot.images.reserve(kTableBytes + bytes);
  const auto* table = reinterpret_cast<const std::byte*>(input.table);
  send(slot.images.data(), slot.pinned.data(), table, kTableBytes, stream, options_.wait);
  send(slot.images.data() + kTableBytes, slot.pinned.data() + kTableBytes, input.data, bytes,
       stream, options_.wait);
  kernels::normalize(reinterpret_cast<const std::uint8_t*>(slot.images.data() + kTableBytes),
                     input.shape[0], input.shape[2] * input.shape[3],
                     reinterpret_cast<const float*>(slot.images.data()), slot.device.data(),
                     input.dtype, stream);
}

void Lane::launch(Run& run) {
  if (run.variant->graph) {
    run.executor->run(run.stream, [&] { run.variant->graph->launch(run.stream); });
    stats_.graph_hits.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  run.executor->run(run.stream, [&] { submit(run, run.stream); });
  ++run.variant->plain_runs;
  stats_.graph_misses.fetch_add(1, std::memory_order_relaxed);
}

// TensorRT wants a context to have run with just these shapes and addresses before a capture, so a
// graph is captured after a run, for the next call. Addresses of the caller's may never come again:
// they are captured when they have come twice.
void Lane::capture(Run& run) {
  const bool own = std::ranges::none_of(run.request.inputs, [](const TensorView& input) {
    return input.memory == Memory::kDevice;
  });
  if (run.variant->graph || !options_.cuda_graph || !run.bucket->capturable ||
      run.variant->plain_runs < (own ? 1 : 2)) {
    return;
  }
  if (run.request.stream) TRTFAST_CUDA(cudaStreamSynchronize(run.stream));
  // On the lane's own stream, for a caller's may be one that cannot be captured.
  run.variant->graph =
      cuda::Graph::capture(stream_.get(), [&] { submit(run, stream_.get()); });
  run.bucket->capturable = run.variant->graph.has_value();
  run.news = true;
  (run.variant->graph ? stats_.captures : stats_.uncapturable)
      .fetch_add(1, std::memory_order_relaxed);
}

// The part of a run that a graph can replay.
void Lane::submit(Run& run, cudaStream_t stream) {
  Executor& executor = *run.executor;
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    if (plan_->inputs()[index].on_host) continue;
    executor.set_shape(index, run.shapes[index]);
    executor.bind_input(index, run.addresses[index]);
  }
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    const void* address = run.addresses[inputs_.size() + index];
    outputs_[index].told = false;
    if (is_dynamic(run.bucket->outputs[index])) {
      executor.allocate_output(index);
    } else {
      const bool on_host = plan_->outputs()[index].on_host;
      executor.bind_output(
          index, on_host ? outputs_[index].pinned.data() : const_cast<void*>(address));
    }
  }
  try {
    executor.enqueue(stream);
  } catch (const Error&) {
    for (auto& slot : outputs_) {
      if (const auto cause = std::exchange(slot.failure, nullptr)) std::rethrow_exception(cause);
    }
    throw;
  }
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    const TensorSpec& spec = plan_->outputs()[index];
    const Shape& shape = run.bucket->outputs[index];
    if (is_dynamic(shape) || spec.on_host || !run.is_staged(index)) continue;
    copy_async(outputs_[index].pinned.data(), outputs_[index].device.data(),
               byte_size(shape, spec.dtype), cudaMemcpyDeviceToHost, stream);
  }
}

// What goes to memory that no graph knows.
void Lane::copy_out(Run& run) {
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    const TensorSpec& spec = plan_->outputs()[index];
    Slot& slot = outputs_[index];
    Tensor& result = run.results[index];
    const auto* given = run.view(index);
    const bool depends_on_data = is_dynamic(run.bucket->outputs[index]);
    if (depends_on_data) {
      if (!slot.told) throw Error("TensorRT did not tell the shape of output '" + spec.name + "'");
      if (byte_size(slot.found, spec.dtype) > slot.device.size()) {
        throw Error("TensorRT gave output '" + spec.name + "' the shape " + str(slot.found) +
                    ", which needs more memory than it asked for");
      }
    }
    result.shape = depends_on_data ? slot.found : run.cut(run.bucket->outputs[index]);
    if (depends_on_data && given != nullptr) check_shape(spec, *given, result.shape);
    if (spec.on_host) continue;
    const std::size_t bytes = byte_size(result.shape, spec.dtype);
    std::byte* target = given != nullptr ? given->data : result.device.data();
    if (run.is_staged(index)) {
      if (!depends_on_data) continue;  // submit() has copied it
      slot.pinned.reserve(bytes);
      target = slot.pinned.data();
    } else if (given == nullptr && target == nullptr) {
      result.device = cuda::PooledMemory(plan_->device(), bytes, run.stream);
      target = result.device.data();
    }
    if (!depends_on_data && target == run.addresses[inputs_.size() + index]) continue;
    const bool to_host = run.is_staged(index) ||
                         (given != nullptr && given->memory == Memory::kPinned);
    copy_async(target, slot.device.data(), bytes,
               to_host ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice, run.stream);
  }
}

void Lane::wait_for(Run& run) {
  if (run.request.stream) {
    submitted_.record(run.stream);
    in_flight_ = true;
  } else if (options_.wait == cuda::Wait::kSpin) {
    stream_.synchronize();
  } else {
    done_.record(stream_.get());
    done_.synchronize();
  }
}

std::vector<Tensor> Lane::collect(Run& run) {
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    Tensor& result = run.results[index];
    const auto* given = run.view(index);
    result.device.set_last_user(run.request.stream.value_or(nullptr));
    if (!run.is_staged(index) && !plan_->outputs()[index].on_host) continue;
    const std::size_t bytes = byte_size(result.shape, result.dtype);
    std::byte* target = given != nullptr ? given->data : nullptr;
    if (target == nullptr) {
      result.data = std::make_unique_for_overwrite<std::byte[]>(bytes);
      target = result.data.get();
    }
    copy(target, outputs_[index].pinned.data(), bytes, options_.wait);
  }
  return std::move(run.results);
}

void Lane::warm_up(std::span<const Shape> shapes) {
  std::vector<std::vector<std::byte>> zeros;
  Request request;
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    const DataType dtype = plan_->inputs()[index].dtype;
    const auto& data = zeros.emplace_back(byte_size(shapes[index], dtype));
    request.inputs.push_back({data.data(), shapes[index], dtype});
  }
  Timeline times;
  static_cast<void>(run(request, times));
}

std::vector<Shape> Lane::output_shapes(std::span<const Shape> shapes) {
  Request request;
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    request.inputs.push_back({nullptr, shapes[index], plan_->inputs()[index].dtype});
  }
  Run run{request, stream_.get(), {}};
  find_bucket(run);
  std::vector<Shape> outputs;
  for (const auto& shape : run.bucket->outputs) outputs.push_back(run.cut(shape));
  return outputs;
}

void Lane::note_memory() {
  LaneMemory held;
  for (const auto* slots : {&inputs_, &outputs_}) {
    for (const auto& slot : *slots) {
      held.device += slot.device.size() + slot.images.size();
      held.pinned += slot.pinned.size();
    }
  }
  held.activations = own_activations_ ? activations_->size() : 0;
  held.graphs = buckets_.graphs();
  const std::scoped_lock lock(memory_mutex_);
  memory_ = held;
}

LaneMemory Lane::memory() const {
  const std::scoped_lock lock(memory_mutex_);
  return memory_;
}

}  // namespace trtfast
