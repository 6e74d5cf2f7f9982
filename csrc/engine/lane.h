// One way through an engine: an execution context, a stream, and the buffers of its tensors.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/plan.h"
#include "engine/tensor.h"

namespace trtfast {

class Lane {
 public:
  /// @throws OutOfMemoryError
  explicit Lane(std::shared_ptr<const Plan> plan);
  ~Lane();
  Lane(const Lane&) = delete;  // owns a context
  Lane& operator=(const Lane&) = delete;

  /// Copy in, enqueue, copy out on the lane's stream, with one synchronisation at the end. One
  /// thread at a time.
  /// @param inputs in the order of the plan's inputs, each of its dtype.
  /// @return the outputs, in the order of the plan's outputs.
  /// @throws InputError, OutOfMemoryError, CudaError, Error
  [[nodiscard]] std::vector<Tensor> run(std::span<const TensorView> inputs);

 private:
  struct Resources;

  void bind_inputs(std::span<const TensorView> inputs);
  void bind_outputs();
  void enqueue();
  void copy_out();
  [[nodiscard]] std::vector<Tensor> collect() const;

  std::shared_ptr<const Plan> plan_;
  std::unique_ptr<Resources> resources_;
};

}  // namespace trtfast
