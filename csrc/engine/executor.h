// An execution context that stays with one optimisation profile, and what it has been told.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "cuda/memory.h"
#include "cuda/stream.h"
#include "engine/activations.h"
#include "engine/plan.h"
#include "engine/tensor.h"
#include "tensorrt/api.h"
#include "tensorrt/callbacks.h"

namespace trtfast {

class Executor {
 public:
  /// @param sinks of the outputs, for those whose shape depends on data.
  /// @throws OutOfMemoryError
  Executor(const Plan& plan, int profile, std::shared_ptr<Activations> activations,
           const cuda::Stream& stream, std::span<tensorrt::OutputAllocator> sinks);

  void set_shape(std::size_t input, const Shape& shape);
  void bind_input(std::size_t input, const void* address);
  void bind_output(std::size_t output, void* address);

  /// Gives an input on the host, from which shapes are computed, its value.
  void set_value(std::size_t input, std::span<const std::byte> value);

  /// The outputs' shapes that follow from the inputs; -1 in those that depend on data.
  /// @throws InputError if the inputs do not fit together.
  [[nodiscard]] std::vector<Shape> output_shapes() const;

  /// Has TensorRT ask for the memory of an output whose shape depends on data.
  void allocate_output(std::size_t output);

  /// @throws Error
  void enqueue(cudaStream_t stream);

  /// Whether shapes have changed so often that the context should give way to a new one.
  [[nodiscard]] bool is_worn() const noexcept;

  /// Has TensorRT time the layers of later runs, for report() to tell.
  void report_to(const tensorrt::Profiler& profiler);

  /// Tells the profiler of the last run, which has ended.
  /// @throws Error
  void report() const;

  /// Has a run submitted, when its activation memory is free.
  template <class Submit>
  void run(cudaStream_t stream, const Submit& submit) {
    activations_->run(stream, submit);
  }

 private:
  struct Value {
    cuda::PinnedBuffer memory;
    bool in_second_half = false;
  };

  const Plan& plan_;
  std::shared_ptr<Activations> activations_;  // the context points to it
  std::span<tensorrt::OutputAllocator> sinks_;
  std::vector<Shape> shapes_;
  bool has_changed_ = false;  // a shape, since the last run
  std::size_t changes_ = 0;   // that were run
  std::vector<const void*> inputs_;
  std::vector<const void*> outputs_;
  std::vector<Value> values_;
  tensorrt::Object context_;
};

}  // namespace trtfast
