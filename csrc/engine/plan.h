// A plan loaded onto a GPU: TensorRT's engine, and what it takes and gives.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/contexts.h"
#include "engine/tensor.h"
#include "tensorrt/api.h"

namespace trtfast {

class Plan {
 public:
  /// Loads a plan onto a GPU.
  /// @throws UnsupportedDeviceError if there is no such GPU, or the library does not list it and
  ///   `allow_unsupported_gpu` is false.
  /// @param kernels what kernels() gave in an earlier process; may be empty.
  /// @throws EngineIncompatibleError if TensorRT cannot load these bytes here.
  Plan(const std::shared_ptr<const tensorrt::Library>& library, std::span<const std::byte> bytes,
       int device, bool allow_unsupported_gpu, std::span<const std::byte> kernels = {});
  ~Plan();
  Plan(const Plan&) = delete;  // owns TensorRT's engine
  Plan& operator=(const Plan&) = delete;

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] const std::vector<TensorSpec>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<TensorSpec>& outputs() const noexcept { return outputs_; }
  [[nodiscard]] const tensorrt::Library& library() const noexcept { return *engine_->library(); }
  [[nodiscard]] int profiles() const noexcept { return profiles_; }
  /// Whether TensorRT reads the value of an input on the host, to compute shapes from it.
  [[nodiscard]] bool has_values() const noexcept { return has_values_; }
  [[nodiscard]] const Contexts& contexts() const noexcept { return *contexts_; }

  /// The first optimisation profile that fits these inputs, in the order of inputs().
  /// @throws InputError
  [[nodiscard]] int profile_for(std::span<const TensorView> inputs) const;

  /// Called after a lane's first run with some shapes: TensorRT-RTX compiles kernels for each anew.
  void note_shapes(std::span<const TensorView> inputs) const;

  /// Whether kernels were compiled since the last such question, and are worth keeping.
  [[nodiscard]] bool take_new_kernels() const noexcept { return new_kernels_.exchange(false); }

  /// The kernels that TensorRT-RTX compiled so far, to keep for the next process; else empty.
  [[nodiscard]] std::vector<std::byte> kernels() const;

  /// What TensorRT's engine inspector tells of the layers, as JSON.
  [[nodiscard]] std::string inspect() const;

 private:
  int device_;
  std::shared_ptr<const tensorrt::Object> engine_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  int profiles_ = 1;
  bool has_values_ = false;
  std::unique_ptr<const Contexts> contexts_;

  mutable std::mutex mutex_;
  mutable std::set<std::vector<Shape>> seen_;
  mutable std::atomic<bool> new_kernels_ = false;
};

}  // namespace trtfast
