#include <atomic>
#include <chrono>
#include <future>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <tuple>

#include "bindings/pybind.h"
#include "engine/build.h"
#include "engine/timings.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

using Range = std::tuple<Shape, Shape, Shape>;
using Ranges = std::map<std::string, Range>;

/// Runs a build on a thread of its own, so that the calling thread can answer signals, and stops it
/// when a signal handler or the progress function raises. Used without the GIL.
class InterruptibleBuild {
 public:
  explicit InterruptibleBuild(const py::object& progress) : progress_(progress) {}

  template <class Build>
  auto run(Build build) {
    auto result = std::async(std::launch::async, std::move(build));
    while (result.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
      if (is_finalizing()) hang();
      const py::gil_scoped_acquire gil;
      if (PyErr_CheckSignals() != 0) stop();
    }
    return result.get();
  }

  bool report(const tensorrt::BuildProgress& step) {
    if (stopped_ || is_finalizing()) return false;
    if (progress_.is_none()) return true;
    const py::gil_scoped_acquire gil;
    try {
      const py::object answer =
          progress_(decoded(step.phase), decoded(step.parent), step.step, step.steps);
      if (answer.is(py::bool_(false))) stopped_ = true;
    } catch (py::error_already_set& error) {
      error.restore();
      stop();
    }
    return !stopped_;
  }

  /// Passes bytes of the plan on.
  void write(const py::function& sink, std::span<const std::byte> bytes) {
    if (stopped_ || is_finalizing()) throw BuildError("the build was interrupted");
    const py::gil_scoped_acquire gil;
    try {
      sink(py::memoryview::from_memory(bytes.data(), static_cast<py::ssize_t>(bytes.size())));
    } catch (py::error_already_set& error) {
      error.restore();
      stop();
      throw BuildError("the plan cannot be written");  // which rethrow() replaces
    }
  }

  /// What was raised meanwhile, if anything was. Needs the GIL.
  void rethrow() {
    if (!raised_) return;
    auto error = std::move(*raised_);
    raised_.reset();
    throw error;  // NOLINT(misc-throw-by-value-catch-by-reference): moved out of the optional
  }

 private:
  // A daemon thread cannot go back into an interpreter that ends; Python hangs such threads too.
  [[noreturn]] static void hang() {
    while (true) std::this_thread::sleep_for(std::chrono::hours(1));
  }

  // Takes the pending Python error. Needs the GIL, which guards raised_ too.
  void stop() {
    stopped_ = true;
    py::error_already_set error;
    if (!raised_) raised_.emplace(std::move(error));
  }

  const py::object& progress_;
  std::atomic<bool> stopped_ = false;
  std::optional<py::error_already_set> raised_;
};

BuildOptions options_of(const std::vector<Ranges>& profiles, std::optional<std::size_t> workspace,
                        std::optional<int> optimization_level, std::vector<int> targets, bool tf32,
                        int device, std::span<const std::byte> timings) {
  BuildOptions options{{},     workspace, optimization_level, std::move(targets), tf32,
                       device, timings};
  for (const auto& ranges : profiles) {
    Profile profile;
    for (const auto& [name, range] : ranges) {
      profile[name] = {std::get<0>(range), std::get<1>(range), std::get<2>(range)};
    }
    options.profiles.push_back(std::move(profile));
  }
  return options;
}

BuildResult build_interruptibly(const std::shared_ptr<const tensorrt::Library>& library,
                                const py::buffer& model, const std::string& model_path,
                                const std::vector<Ranges>& profiles,
                                std::optional<std::size_t> workspace,
                                std::optional<int> optimization_level, std::vector<int> targets,
                                bool tf32, int device, const py::buffer& timings,
                                const py::object& progress, const py::function& sink) {
  // They keep the bytes in place while the GIL is free.
  const py::buffer_info info = model.request();
  const py::buffer_info timings_info = timings.request();
  const auto options = options_of(profiles, workspace, optimization_level, std::move(targets), tf32,
                                  device, bytes_of(timings_info));
  InterruptibleBuild interruptible(progress);
  BuildResult result;
  try {
    const ReleasedGil released;
    result = interruptible.run([&] {
      return build(
          library, bytes_of(info), model_path, options,
          [&](const tensorrt::BuildProgress& step) { return interruptible.report(step); },
          [&](std::span<const std::byte> bytes) { interruptible.write(sink, bytes); });
    });
  } catch (...) {
    interruptible.rethrow();
    throw;
  }
  interruptible.rethrow();
  return result;
}

py::bytes to_bytes(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

py::bytes merge(const std::shared_ptr<const tensorrt::Library>& library, int device,
                const py::buffer& first, const py::buffer& second) {
  const py::buffer_info first_info = first.request();
  const py::buffer_info second_info = second.request();
  std::vector<std::byte> merged;
  {
    const ReleasedGil released;
    merged = merge_timings(library, device, bytes_of(first_info), bytes_of(second_info));
  }
  return to_bytes(merged);
}

std::vector<std::string> numpy_names(const std::vector<DataType>& dtypes) {
  std::vector<std::string> names;
  names.reserve(dtypes.size());
  for (const auto dtype : dtypes) names.emplace_back(numpy_name(dtype));
  return names;
}

}  // namespace

void register_build(py::module_& module) {
  py::class_<LayerInfo>(module, "LayerInfo", "A layer of the parsed network.")
      .def_property_readonly("name", [](const LayerInfo& layer) { return decoded(layer.name); })
      .def_readonly("type", &LayerInfo::type, "TensorRT's LayerType")
      .def_property_readonly("inputs",
                             [](const LayerInfo& layer) { return numpy_names(layer.inputs); })
      .def_property_readonly("outputs",
                             [](const LayerInfo& layer) { return numpy_names(layer.outputs); });

  py::class_<BuildResult>(module, "BuildResult", "What a build tells beside the plan.")
      .def_readonly("layers", &BuildResult::layers)
      .def_property_readonly(
          "timings", [](const BuildResult& result) { return to_bytes(result.timings); },
          "TensorRT's timing cache; empty where it keeps none.");

  module.def("build", &build_interruptibly, py::arg("library"), py::arg("model"),
             py::arg("model_path"), py::arg("profiles"), py::arg("workspace"),
             py::arg("optimization_level"), py::arg("targets"), py::arg("tf32"), py::arg("device"),
             py::arg("timings"), py::arg("progress"), py::arg("sink"),
             "Builds a plan from a serialised ONNX model; sink takes its bytes, piece by piece.");
  module.def("merge_timings", &merge, py::arg("library"), py::arg("device"), py::arg("first"),
             py::arg("second"), "What two builds measured on a GPU, as one.");
}

}  // namespace trtfast::bindings
