// An engine's calls in the background.
#include <memory>
#include <optional>
#include <utility>

#include "bindings/completions.h"

namespace trtfast::bindings {
namespace {

std::optional<PendingCall> infer_async(const std::shared_ptr<Engine>& engine,
                                       const py::object& inputs, const py::object& future,
                                       const std::optional<double>& seconds) {
  const Deadline deadline = deadline_of(seconds);
  auto arguments = read_arguments(*engine, inputs, py::none(), std::nullopt);
  if (!arguments) return std::nullopt;
  const auto pending = std::make_shared<Pending>(
      std::shared_ptr<const std::vector<TensorSpec>>(engine, &engine->outputs()),
      std::move(*arguments), future);
  return begin_call(pending, [&] {
    const ReleasedGil released;
    pending->arguments.request.inputs_ready = pending->arguments.ready();
    const auto number =
        engine->infer_async(pending->arguments.request, deadline,
                            [pending](Outcome outcome) { complete(pending, std::move(outcome)); });
    return [owner = std::weak_ptr(engine), number] {
      const auto held = owner.lock();
      return held != nullptr && held->cancel(number);
    };
  });
}

}  // namespace

void register_async(py::module_& module) {
  module.def("infer_async", &infer_async, py::arg("engine"), py::arg("inputs"), py::arg("future"),
             py::arg("deadline"),
             "Begins a call; None where inputs are not exactly what the engine takes.");
}

}  // namespace trtfast::bindings
