// The batcher, on an engine or on a callable of Python's.
#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bindings/completions.h"
#include "bindings/images.h"
#include "engine/batcher.h"
#include "engine/spin.h"
#include "engine/transfer.h"
#include "error.h"

namespace trtfast::bindings {
namespace {

/// An error whose Python class is known by name.
class NamedError final : public Error {
 public:
  NamedError(std::string kind, const std::string& message)
      : Error(message), kind_(std::move(kind)) {}
  [[nodiscard]] const char* kind() const noexcept override { return kind_.c_str(); }

 private:
  std::string kind_;
};

/// A Python exception as one of the core's, which each of several callers can be told.
[[noreturn]] void rethrow(const py::error_already_set& raised) {
  const auto text = py::str(raised.value()).cast<std::string>();
  const auto name = raised.type().attr("__name__").cast<std::string>();
  if (raised.matches(py::module_::import("trtfast.errors").attr("Error"))) {
    throw NamedError(name, text);
  }
  throw Error("the engine failed to run a batch: " + name + ": " + text);
}

/// Runs batches by a callable, which gets an array for each input and returns one for each output.
class CallableRunner final : public BatchRunner {
 public:
  CallableRunner(const py::function& callable, std::vector<TensorSpec> outputs)
      : outputs_(std::move(outputs)) {
    callable_.add(callable);
  }

  void run(const std::function<const BatchItems&()>& take, Timeline& times) override {
    const std::scoped_lock lane(lane_);  // the next batch grows meanwhile
    const BatchItems& items = take();
    times.started = Clock::now();
    if (items.empty()) return;
    if (is_finalizing()) ReleasedGil::hang();
    const py::gil_scoped_acquire acquired;
    try {
      const py::list inputs = gathered(items);
      times.sent = Clock::now();
      const py::list results = callable_.front()(inputs);
      times.computed = Clock::now();
      deal_out(results, items);
    } catch (const py::error_already_set& raised) {
      rethrow(raised);
    }
  }

 private:
  static py::list gathered(const BatchItems& items) {
    py::list arrays;
    for (std::size_t input = 0; input < items.front()->inputs.size(); ++input) {
      const TensorView& first = items.front()->inputs[input];
      Shape shape = first.shape;
      shape.front() = 0;
      for (const auto& item : items) shape.front() += item->rows();
      py::array array(numpy_dtype(first.dtype), shape);
      auto* to = static_cast<std::byte*>(array.mutable_data());
      for (const auto& item : items) {
        const TensorView& part = item->inputs[input];
        const std::size_t bytes = byte_size(part.shape, part.dtype);
        if (bytes > 0) std::memcpy(to, part.data, bytes);
        to += bytes;
      }
      arrays.append(array);
    }
    return arrays;
  }

  void deal_out(const py::list& results, const BatchItems& items) const {
    std::vector<Share> shares;
    shares.reserve(items.size());
    for (const auto& item : items) shares.push_back({item->rows(), &item->outputs});
    for (std::size_t index = 0; index < outputs_.size(); ++index) {
      const py::array array = py::array::ensure(results[index], py::array::c_style);
      const TensorSpec& spec = outputs_[index];
      if (!array || !array.dtype().equal(numpy_dtype(spec.dtype))) {
        throw Error("output '" + spec.name + "' is no array of " +
                    tensorrt::numpy_name(spec.dtype));
      }
      deal(shares, spec.name, static_cast<const std::byte*>(array.data()),
           {array.shape(), array.shape() + array.ndim()}, spec.dtype, cuda::Wait::kBlock);
    }
  }

  std::mutex lane_;
  Kept callable_;
  std::vector<TensorSpec> outputs_;
};

using Spec = std::tuple<std::string, py::object, Shape>;

std::vector<TensorSpec> specs_of(const std::vector<Spec>& given) {
  std::vector<TensorSpec> specs;
  specs.reserve(given.size());
  for (const auto& [name, dtype, shape] : given) {
    specs.push_back({name, dtype_of(dtype), shape, false, false, {}, {}});
  }
  return specs;
}

/// A batcher, and what its requests are like.
struct Bound {
  std::shared_ptr<Engine> engine;  // null where a callable runs the batches
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  Batcher batcher;

  Bound(std::shared_ptr<Engine> of, const std::vector<Spec>& takes, const std::vector<Spec>& gives,
        std::unique_ptr<BatchRunner> runner, BatcherOptions options)
      : engine(std::move(of)),
        inputs(specs_of(takes)),
        outputs(specs_of(gives)),
        batcher(std::move(runner), std::move(options)) {}
};
using Handle = std::shared_ptr<Bound>;

Handle make(const std::optional<std::shared_ptr<Engine>>& engine,
            const std::optional<py::function>& callable, const std::vector<Spec>& inputs,
            const std::vector<Spec>& outputs, std::int64_t max_batch_size, double max_queue_delay,
            const std::vector<std::int64_t>& preferred, std::optional<std::size_t> max_queue,
            std::size_t lanes, bool spin) {
  const std::chrono::duration<double> delay(max_queue_delay);
  BatcherOptions options{max_batch_size, std::chrono::duration_cast<Clock::duration>(delay),
                         preferred,      max_queue,
                         lanes,          {}};
  if (spin && may_spin()) options.awake = kAwake;
  std::unique_ptr<BatchRunner> runner;
  if (callable) {
    runner = std::make_unique<CallableRunner>(*callable, specs_of(outputs));
  } else {
    runner = std::make_unique<EngineRunner>(engine.value_or(nullptr));
  }
  auto bound = std::make_unique<Bound>(engine.value_or(nullptr), inputs, outputs, std::move(runner),
                                       std::move(options));
  return {bound.release(), [](Bound* held) {
            if (held->batcher.is_orphan()) return;  // its threads stayed with the parent
            std::optional<ReleasedGil> released;
            if (PyGILState_Check() != 0) released.emplace();
            delete held;
          }};
}

/// A request and what keeps its memory in place; nothing where inputs have to be cast or copied
/// first, or their fault told.
struct Asked {
  std::shared_ptr<BatchItem> item = std::make_shared<BatchItem>();
  Arguments arguments;
};

std::optional<Asked> ask(const Bound& bound, const py::object& inputs,
                         const std::optional<double>& seconds) {
  auto arguments = read_host_arguments(bound.inputs, inputs);
  if (!arguments) return std::nullopt;
  Asked asked;
  asked.item->deadline = deadline_of(seconds);
  asked.item->inputs = std::move(arguments->request.inputs);
  asked.arguments = std::move(*arguments);
  return asked;
}

Asked ask_images(const Bound& bound, const std::shared_ptr<images::Recipe>& recipe,
                 const py::list& objects, const std::optional<Words>& geometry, const Maps& maps,
                 const std::optional<double>& seconds) {
  Given given = read_images(*recipe, objects, geometry, maps, bound.engine->device());
  if (given.junction != nullptr) {
    throw InputError("a batcher takes images on the host: run those on the GPU with the engine");
  }
  Asked asked;
  asked.item->deadline = deadline_of(seconds);
  asked.item->recipe = recipe;
  asked.item->images = std::move(given.images);
  asked.arguments.keep = std::move(given.keep);
  return asked;
}

py::object wait_for(const Handle& bound, const Asked& asked) {
  std::vector<Tensor> outputs;
  {
    const ReleasedGil released;
    outputs = bound->batcher.infer(asked.item);
  }
  return to_results(bound->outputs, asked.arguments, std::move(outputs));
}

PendingCall begin(const Handle& bound, Asked asked, const py::object& future) {
  const auto pending = std::make_shared<Pending>(
      std::shared_ptr<const std::vector<TensorSpec>>(bound, &bound->outputs),
      std::move(asked.arguments), future);
  // With the GIL: a request is only queued, and nobody who holds the queue's lock waits for the
  // GIL.
  return begin_call(pending, [&] {
    asked.item->done = [pending](Outcome outcome) { complete(pending, std::move(outcome)); };
    bound->batcher.add(asked.item);
    return [owner = std::weak_ptr(bound), item = std::weak_ptr(asked.item)] {
      const auto held = owner.lock();
      const auto asked_for = item.lock();
      return held != nullptr && asked_for != nullptr && held->batcher.cancel(asked_for);
    };
  });
}

py::object infer(const Handle& bound, const py::object& inputs,
                 const std::optional<double>& deadline) {
  const auto asked = ask(*bound, inputs, deadline);
  return asked ? wait_for(bound, *asked) : py::none();
}

std::optional<PendingCall> infer_async(const Handle& bound, const py::object& inputs,
                                       const py::object& future,
                                       const std::optional<double>& deadline) {
  auto asked = ask(*bound, inputs, deadline);
  if (!asked) return std::nullopt;
  return begin(bound, std::move(*asked), future);
}

py::dict stats(const Bound& bound) {
  const BatcherStats& counted = bound.batcher.stats();
  py::dict told = stats_of(counted);
  told["rows"] = counted.rows.load();
  told["executions"] = counted.executions.load();
  told["rejected"] = counted.rejected.load();
  told["expired"] = counted.expired.load();
  told["cancelled"] = counted.cancelled.load();
  told["waiting"] = bound.batcher.waiting();
  told["batch_sizes"] = bound.batcher.batch_sizes();
  return told;
}

}  // namespace

// NOLINTNEXTLINE(misc-const-correctness): adding to a module changes it, behind a handle
void register_batcher(py::module_& module) {
  py::class_<Bound, Handle>(module, "Batcher", "Gathers requests into batches.")
      .def(py::init(&make), py::arg("engine"), py::arg("callable"), py::kw_only(),
           py::arg("inputs"), py::arg("outputs"), py::arg("max_batch_size"),
           py::arg("max_queue_delay"), py::arg("preferred"), py::arg("max_queue"), py::arg("lanes"),
           py::arg("spin"))
      .def("infer", &infer, py::arg("inputs"), py::arg("deadline"),
           "Waits for the answer; None where inputs are not exactly what the engine takes.")
      .def("infer_async", &infer_async, py::arg("inputs"), py::arg("future"), py::arg("deadline"),
           "Begins a request; None where inputs are not exactly what the engine takes.")
      .def(
          "infer_images",
          [](const Handle& bound, const std::shared_ptr<images::Recipe>& recipe,
             const py::list& images, const std::optional<Words>& geometry, const Maps& maps,
             const std::optional<double>& deadline) {
            return wait_for(bound, ask_images(*bound, recipe, images, geometry, maps, deadline));
          },
          py::arg("recipe"), py::arg("images"), py::arg("geometry").noconvert(), py::arg("maps"),
          py::arg("deadline"), "Waits for the answer to images, as the engine takes them.")
      .def(
          "infer_images_async",
          [](const Handle& bound, const std::shared_ptr<images::Recipe>& recipe,
             const py::list& images, const std::optional<Words>& geometry, const Maps& maps,
             const py::object& future, const std::optional<double>& deadline) {
            return begin(bound, ask_images(*bound, recipe, images, geometry, maps, deadline),
                         future);
          },
          py::arg("recipe"), py::arg("images"), py::arg("geometry").noconvert(), py::arg("maps"),
          py::arg("future"), py::arg("deadline"), "Begins a request with images.")
      .def("stats", &stats)
      .def("reset_stats", [](Bound& bound) { bound.batcher.reset_stats(); })
      .def("close", [](Bound& bound) { bound.batcher.close(); }, py::call_guard<ReleasedGil>());
}

}  // namespace trtfast::bindings
