#include "engine/lane.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "cuda/check.h"
#include "cuda/device.h"
#include "engine/run.h"
#include "error.h"

namespace trtfast {
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
      first_role_(plan_->contexts().most_changes() && (!options.cuda_graph || plan_->has_values())
                      ? Role::kPlain
                      : Role::kGraphs),
      executors_(static_cast<std::size_t>(plan_->profiles())) {
  if (own_activations_) {
    activations_ =
        std::make_shared<Activations>(plan_->contexts().activation_bytes(), Sharing::kLane);
  }
  for (auto& output : outputs_) {
    allocators_.emplace_back(plan_->library().abi().generation(), output);
  }
  static_cast<void>(executor_of(0, first_role_));
  note_memory();
}

Lane::~Lane() {
  if (in_flight_) static_cast<void>(cudaEventSynchronize(submitted_.get()));
}

std::unique_ptr<Executor>& Lane::slot_of(int profile, Role role) {
  return executors_[static_cast<std::size_t>(profile)][static_cast<std::size_t>(role)];
}

Executor& Lane::executor_of(int profile, Role role) {
  auto& executor = slot_of(profile, role);
  if (executor == nullptr) {
    executor = std::make_unique<Executor>(*plan_, profile, activations_, stream_, allocators_);
  }
  return *executor;
}

std::vector<Tensor> Lane::run(const Request& request, Timeline& times, cuda::Trace& trace) {
  trace.part("compute_input");
  Run run{request, request.stream.value_or(stream_.get()), {}};
  try {
    find_bucket(run);
    place(run);
    choose_executor(run);
    // What a caller's stream still does with this lane comes first.
    if (std::exchange(in_flight_, false)) submitted_.hold(run.stream);
    if (request.inputs_ready != nullptr) request.inputs_ready->hold(run.stream);
    copy_in(run);
    times.sent = Clock::now();
    trace.part("launch");
    launch(run);
    copy_out(run);
    trace.part("wait");
    wait_for(run);
    times.computed = Clock::now();
    capture(run, trace);
    trace.part("output");
    if (!std::exchange(run.has_run(), true)) plan_->note_shapes(request.inputs);
    if (run.executor->is_worn()) retire(run);
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
  if (run.bucket == nullptr && options_.pad_to_bucket && !run.request.exact_shapes) {
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
}

Bucket& Lane::make_bucket(const Run& run) {
  const int profile = plan_->profile_for(run.request.inputs);
  Executor& executor = executor_of(profile, first_role_);
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    executor.set_shape(index, run.shapes[index]);
    if (!plan_->inputs()[index].on_host) continue;
    const TensorView& input = run.request.inputs[index];
    executor.set_value(index, {input.data, byte_size(input.shape, input.dtype)});
  }
  auto outputs = executor.output_shapes();
  const bool capturable = std::ranges::none_of(outputs, is_dynamic) && !plan_->has_values();
  return buckets_.add({profile, run.shapes, std::move(outputs), capturable},
                      run.request.exact_shapes);
}

void Lane::choose_executor(Run& run) {
  const bool is_captured =
      options_.cuda_graph && run.bucket->capturable && run.variant != &run.bucket->passing;
  if (!is_captured && plan_->contexts().most_changes()) run.role = Role::kPlain;
  run.executor = &executor_of(run.bucket->profile, run.role);
}

void Lane::launch(Run& run) {
  if (run.variant->graph) {
    run.executor->run(run.stream, [&] { run.variant->graph->launch(run.stream); });
    stats_.graph_hits.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  run.executor->run(run.stream, [&] {
    const Contexts& contexts = plan_->contexts();
    const Alone alone = run.has_run() ? Alone() : contexts.alone();
    const Shared shared = alone ? Shared() : contexts.beside_others();
    submit(run, run.stream);
  });
  ++run.variant->plain_runs;
  stats_.graph_misses.fetch_add(1, std::memory_order_relaxed);
}

// TensorRT wants a context to have run with just these shapes and addresses before a capture, so a
// graph is captured after a run, for the next call. Addresses of the caller's may never come again:
// they are captured when they have come twice.
void Lane::capture(Run& run, cuda::Trace& trace) {
  Variant& variant = *run.variant;
  if (variant.graph || !options_.cuda_graph || !run.bucket->capturable ||
      variant.plain_runs < (run.has_callers_address ? 2 : 1)) {
    return;
  }
  trace.part("capture");
  const Alone alone = plan_->contexts().alone();
  // On the lane's own stream, for a caller's may be one that cannot be captured.
  variant.graph = cuda::Graph::capture(stream_.get(), [&] { submit(run, stream_.get()); });
  // Where TensorRT copies as well, it may be from or to memory of the caller's, freed one day.
  if (variant.graph && run.has_callers_address && variant.graph->copies() > run.copies()) {
    variant.graph.reset();
  }
  run.bucket->capturable = variant.graph.has_value();
  run.news = true;
  (variant.graph ? stats_.captures : stats_.uncapturable).fetch_add(1, std::memory_order_relaxed);
}

// The part of a run that a graph can replay.
void Lane::submit(Run& run, cudaStream_t stream) {
  Executor& executor = *run.executor;
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    const TensorSpec& spec = plan_->inputs()[index];
    if (spec.on_host) continue;
    executor.set_shape(index, run.shapes[index]);
    executor.bind_input(index, run.input(index));
    if (run.source(index) == nullptr) continue;
    copy_async(inputs_[index].device.data(), run.source(index),
               byte_size(run.shapes[index], spec.dtype), cudaMemcpyHostToDevice, stream);
  }
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    outputs_[index].told = false;
    if (is_dynamic(run.bucket->outputs[index])) {
      executor.allocate_output(index);
    } else if (plan_->outputs()[index].on_host) {
      executor.bind_output(index, outputs_[index].pinned.data());
    } else {
      executor.bind_output(index, const_cast<void*>(run.output(index)));
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
    if (run.target(index) == nullptr) continue;
    copy_async(const_cast<void*>(run.target(index)), run.output(index),
               byte_size(run.bucket->outputs[index], plan_->outputs()[index].dtype),
               cudaMemcpyDeviceToHost, stream);
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

// The next run that needs the context makes a new one.
void Lane::retire(Run& run) {
  if (in_flight_) submitted_.synchronize();
  const int profile = run.bucket->profile;
  buckets_.forget_runs(profile, run.role);  // graphs replay the context's kernels, so they go first
  slot_of(profile, run.role).reset();
  run.news = true;
}

void Lane::warm_up(std::span<const Shape> shapes) {
  std::vector<std::vector<std::byte>> zeros;
  Request request;
  request.exact_shapes = true;
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    const DataType dtype = plan_->inputs()[index].dtype;
    const auto& data = zeros.emplace_back(byte_size(shapes[index], dtype));
    request.inputs.push_back({data.data(), shapes[index], dtype});
  }
  Timeline times;
  cuda::Trace trace;
  static_cast<void>(run(request, times, trace));
}

std::vector<Shape> Lane::output_shapes(std::span<const Shape> shapes) {
  Request request;
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    request.inputs.push_back({nullptr, shapes[index], plan_->inputs()[index].dtype});
  }
  Run run{request, stream_.get(), {}};
  find_bucket(run);
  std::vector<Shape> outputs;
  outputs.reserve(outputs_.size());
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
