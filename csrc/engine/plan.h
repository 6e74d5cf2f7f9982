// A plan loaded onto a GPU: TensorRT's engine, and what it takes and gives.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "tensorrt/api.h"

namespace trtfast {

class Plan {
 public:
  /// Loads a plan onto a GPU.
  /// @throws UnsupportedDeviceError if there is no such GPU, or the library does not list it and
  ///   `allow_unsupported_gpu` is false.
  /// @throws EngineIncompatibleError if TensorRT cannot load these bytes here.
  Plan(const std::shared_ptr<const tensorrt::Library>& library, std::span<const std::byte> bytes,
       int device, bool allow_unsupported_gpu);
  ~Plan();
  Plan(const Plan&) = delete;  // owns TensorRT's engine
  Plan& operator=(const Plan&) = delete;

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] const std::vector<TensorSpec>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<TensorSpec>& outputs() const noexcept { return outputs_; }
  [[nodiscard]] const std::shared_ptr<const tensorrt::Object>& engine() const noexcept {
    return engine_;
  }

  /// The first optimisation profile that fits these inputs, in the order of inputs().
  /// @throws InputError
  [[nodiscard]] int profile_for(std::span<const TensorView> inputs) const;

  /// What TensorRT's engine inspector tells of the layers, as JSON.
  [[nodiscard]] std::string inspect() const;

 private:
  [[nodiscard]] TensorSpec spec_of(const char* name, bool is_input) const;

  int device_;
  std::shared_ptr<const tensorrt::Object> engine_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
};

}  // namespace trtfast
