#include "engine/engine.h"

#include <array>
#include <string>

#include "error.h"
#include "kernels/normalize.h"

namespace trtfast {
namespace {

std::size_t checked_lanes(int lanes) {
  if (lanes < 1) throw InputError("lanes must be 1 or more, not " + std::to_string(lanes));
  return static_cast<std::size_t>(lanes);
}

// Names and the user's mistakes are the caller's to explain; here is what memory safety needs.
void check(const TensorSpec& spec, const TensorView& input) {
  bool fits = input.dtype == spec.dtype && input.shape.size() == spec.shape.size();
  for (std::size_t axis = 0; fits && axis < spec.shape.size(); ++axis) {
    fits = spec.shape[axis] < 0 ? input.shape[axis] >= 0 : input.shape[axis] == spec.shape[axis];
  }
  if (!fits) {
    throw InputError("input '" + spec.name + "' must be " + tensorrt::numpy_name(spec.dtype) + " " +
                     str(spec.shape) + ", not " + tensorrt::numpy_name(input.dtype) + " " +
                     str(input.shape));
  }
}

}  // namespace

Engine::Engine(const std::shared_ptr<const tensorrt::Library>& library,
               std::span<const std::byte> plan, const EngineOptions& options)
    : plan_(std::make_shared<const Plan>(library, plan, options.device,
                                         options.allow_unsupported_gpu, options.kernels)),
      pool_(plan_, checked_lanes(options.lanes)) {}

Engine::~Engine() { pool_.close(); }

std::vector<Tensor> Engine::infer(std::span<const TensorView> inputs) {
  if (inputs.size() != this->inputs().size()) {
    throw InputError("the engine takes " + std::to_string(this->inputs().size()) + " inputs, not " +
                     std::to_string(inputs.size()));
  }
  for (std::size_t index = 0; index < inputs.size(); ++index)
    check(this->inputs()[index], inputs[index]);
  return pool_.acquire()->run(inputs);
}

std::vector<Tensor> Engine::infer_images(const std::byte* images, const Shape& shape,
                                         const float* table) {
  const TensorSpec& spec = inputs().front();
  if (spec.on_host || spec.shape.size() != 4 || !kernels::can_normalize_to(spec.dtype)) {
    throw InputError("input '" + spec.name + "' of dtype " + tensorrt::numpy_name(spec.dtype) +
                     " and shape " + str(spec.shape) + " does not take images");
  }
  const std::array views = {TensorView{images, shape, spec.dtype, table}};
  return infer(views);
}

void Engine::close() { pool_.close(); }

}  // namespace trtfast
