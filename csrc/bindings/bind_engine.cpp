#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "engine/engine.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

/// None where inputs have to be cast or copied first, or their fault told.
py::object infer(Engine& engine, const py::object& inputs, const py::object& out,
                 const std::optional<std::uintptr_t>& stream,
                 const std::optional<double>& seconds) {
  const Deadline deadline = deadline_of(seconds);
  auto arguments = read_arguments(engine, inputs, out, stream);
  if (!arguments) return py::none();
  std::vector<Tensor> outputs;
  {
    const ReleasedGil released;
    arguments->request.inputs_ready = arguments->ready();
    outputs = engine.infer(arguments->request, deadline);
  }
  return to_results(engine.outputs(), *arguments, std::move(outputs));
}

using LayerTimes = std::vector<std::pair<py::str, double>>;

/// None where inputs have to be cast or copied first, or their fault told.
std::optional<LayerTimes> profile(Engine& engine, const py::object& inputs, int runs) {
  auto arguments = read_arguments(engine, inputs, py::none(), std::nullopt);
  if (!arguments) return std::nullopt;
  std::vector<LayerTime> layers;
  {
    const ReleasedGil released;
    arguments->request.inputs_ready = arguments->ready();
    layers = engine.profile(arguments->request, runs);
  }
  LayerTimes times;
  for (const auto& layer : layers) times.emplace_back(decoded(layer.name), layer.milliseconds);
  return times;
}

std::shared_ptr<Engine> load(const std::shared_ptr<const tensorrt::Library>& library,
                             const py::buffer& plan, int device, int lanes, bool cuda_graph,
                             bool spin, std::optional<std::size_t> max_queue,
                             bool shared_activations, bool pad_to_bucket,
                             bool allow_unsupported_gpu, const py::buffer& kernels,
                             const std::string& traced_as) {
  // They keep the bytes in place while the GIL is free.
  const py::buffer_info info = plan.request();
  const py::buffer_info kernel_info = kernels.request();
  const EngineOptions options = {
      device,
      lanes,
      max_queue,
      {cuda_graph, spin ? cuda::Wait::kSpin : cuda::Wait::kBlock, pad_to_bucket},
      shared_activations ? Sharing::kShared : Sharing::kLane,
      allow_unsupported_gpu,
      bytes_of(kernel_info),
      traced_as};
  const ReleasedGil released;
  return make_released<Engine>(library, bytes_of(info), options);
}

py::str inspect(const std::shared_ptr<const tensorrt::Library>& library, const py::buffer& plan,
                int device) {
  const py::buffer_info info = plan.request();  // keeps the bytes in place while the GIL is free
  std::string told;
  {
    const ReleasedGil released;
    told = Plan(library, bytes_of(info), device, /*allow_unsupported_gpu=*/true).inspect();
  }
  return decoded(told);
}

py::str inspect_engine(const Engine& engine) {
  std::string told;
  {
    const ReleasedGil released;
    told = engine.inspect();
  }
  return decoded(told);
}

py::bytes kernels(const Engine& engine) {
  std::vector<std::byte> kernels;
  {
    const ReleasedGil released;
    kernels = engine.kernels();
  }
  return {reinterpret_cast<const char*>(kernels.data()), kernels.size()};
}

py::dict summary_of(const Histogram& histogram) {
  const auto summary = histogram.summary();
  py::dict told;
  told["count"] = summary.count;
  told["mean"] = summary.mean;
  told["p50"] = summary.p50;
  told["p90"] = summary.p90;
  told["p99"] = summary.p99;
  told["max"] = summary.max;
  return told;
}

py::dict stats(const Engine& engine) {
  const Stats& counted = engine.stats();
  py::dict told = stats_of(counted);
  told["graph_hits"] = counted.graph_hits.load();
  told["graph_misses"] = counted.graph_misses.load();
  told["captures"] = counted.captures.load();
  told["uncapturable"] = counted.uncapturable.load();
  told["padded"] = counted.padded.load();
  return told;
}

py::dict memory(Engine& engine) {
  MemoryReport report;
  {
    const ReleasedGil released;
    report = engine.memory();
  }
  py::list lanes;
  for (const auto& lane : report.lanes) {
    py::dict held;
    held["device"] = lane.device;
    held["pinned"] = lane.pinned;
    held["activations"] = lane.activations;
    held["graphs"] = lane.graphs;
    lanes.append(held);
  }
  py::dict told;
  told["lanes"] = lanes;
  told["shared_activations"] = report.shared_activations;
  return told;
}

}  // namespace

py::dict stats_of(const CallStats& counted) {
  py::dict told;
  told["calls"] = counted.calls.load();
  told["failures"] = counted.failures.load();
  told["queue"] = summary_of(counted.queue);
  told["compute_input"] = summary_of(counted.compute_input);
  told["infer"] = summary_of(counted.infer);
  told["output"] = summary_of(counted.output);
  told["total"] = summary_of(counted.total);
  return told;
}

void register_engine(py::module_& module) {
  py::class_<ShapeRange>(module, "ShapeRange")
      .def_readonly("min", &ShapeRange::min)
      .def_readonly("opt", &ShapeRange::opt)
      .def_readonly("max", &ShapeRange::max);

  py::class_<TensorSpec>(module, "TensorSpec")
      .def_property_readonly("name", [](const TensorSpec& spec) { return decoded(spec.name); })
      .def_property_readonly("dtype",
                             [](const TensorSpec& spec) { return numpy_dtype(spec.dtype); })
      .def_readonly("shape", &TensorSpec::shape)
      .def_readonly("profiles", &TensorSpec::profiles);

  module.def("inspect", &inspect, py::arg("library"), py::arg("plan"), py::arg("device"),
             "What TensorRT's engine inspector tells of a plan's layers, as JSON.");

  using Released = py::call_guard<ReleasedGil>;
  py::class_<Engine, std::shared_ptr<Engine>>(module, "Engine", "A loaded plan.")
      .def(py::init(&load), py::arg("library"), py::arg("plan"), py::kw_only(), py::arg("device"),
           py::arg("lanes"), py::arg("cuda_graph"), py::arg("spin"), py::arg("max_queue"),
           py::arg("shared_activations"), py::arg("pad_to_bucket"),
           py::arg("allow_unsupported_gpu"), py::arg("kernels"), py::arg("traced_as"))
      .def_property_readonly("inputs", &Engine::inputs)
      .def_property_readonly("outputs", &Engine::outputs)
      .def("infer", &infer, py::arg("inputs"), py::arg("out"), py::arg("stream"),
           py::arg("deadline"), "Runs; None where inputs are not exactly what the engine takes.")
      .def("profile", &profile, py::arg("inputs"), py::arg("runs"),
           "Milliseconds of each layer; None where inputs are not exactly what the engine takes.")
      .def("warm_up", &Engine::warm_up, py::arg("shapes"), Released(),
           "Captures graphs for sets of shapes; for none, for the profiles' best shapes.")
      .def(
          "output_shapes",
          [](Engine& engine, const std::vector<Shape>& shapes) {
            return engine.output_shapes(shapes);
          },
          py::arg("shapes"), Released(), "The outputs' shapes for these of the inputs.")
      .def("stats", &stats)
      .def("reset_stats", &Engine::reset_stats)
      .def("memory", &memory)
      .def("take_new_kernels", &Engine::take_new_kernels,
           "Whether kernels were compiled since this was last asked.")
      .def("kernels", &kernels,
           "The kernels that TensorRT-RTX compiled, to keep for the next process.")
      .def("inspect", &inspect_engine, "The engine inspector's JSON.")
      .def("close", &Engine::close, Released());
}

}  // namespace trtfast::bindings
