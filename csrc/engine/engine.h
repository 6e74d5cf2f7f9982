// An engine that serves calls from any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/lane_pool.h"
#include "engine/plan.h"
#include "engine/tensor.h"

namespace trtfast {

struct EngineOptions {
  int device = 0;
  int lanes = 2;  // calls that may run at once
  bool allow_unsupported_gpu = false;
  std::span<const std::byte> kernels;  // what Engine::kernels() gave in an earlier process
};

class Engine {
 public:
  /// @throws InputError, UnsupportedDeviceError, EngineIncompatibleError, OutOfMemoryError
  Engine(const std::shared_ptr<const tensorrt::Library>& library, std::span<const std::byte> plan,
         const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;  // callers hold its address
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] const std::vector<TensorSpec>& inputs() const noexcept { return plan_->inputs(); }
  [[nodiscard]] const std::vector<TensorSpec>& outputs() const noexcept { return plan_->outputs(); }
  [[nodiscard]] std::string inspect() const { return plan_->inspect(); }
  [[nodiscard]] bool take_new_kernels() const noexcept { return plan_->take_new_kernels(); }
  [[nodiscard]] std::vector<std::byte> kernels() const { return plan_->kernels(); }

  /// Runs the engine. Safe from several threads at once.
  /// @param inputs in the order of inputs().
  /// @return the outputs in the order of outputs().
  [[nodiscard]] std::vector<Tensor> infer(std::span<const TensorView> inputs);

  /// Runs the engine, whose one input must be (n, 3, height, width), on images.
  /// @param images uint8 (shape[0], shape[2], shape[3], 3), contiguous.
  /// @param shape (n, 3, height, width).
  /// @param table float32 (3, 256): what each pixel value becomes.
  [[nodiscard]] std::vector<Tensor> infer_images(const std::byte* images, const Shape& shape,
                                                 const float* table);

  /// Waits for the calls under way and frees the lanes. Later calls throw ClosedError.
  void close();

 private:
  std::shared_ptr<const Plan> plan_;
  LanePool pool_;
};

}  // namespace trtfast
