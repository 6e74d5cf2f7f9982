#include "engine/build.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <exception>
#include <mutex>
#include <utility>

#include "cuda/device.h"
#include "engine/timings.h"
#include "error.h"
#include "tensorrt/devices.h"

namespace trtfast {
namespace {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::ErrorScope;
using tensorrt::Object;
using tensorrt::ProfileSelector;
using tensorrt::require;
using tensorrt::View;

// Keeps the first exception of a callback, which must not pass through TensorRT.
class Raised {
 public:
  void keep() {
    const std::scoped_lock lock(mutex_);
    if (!raised_) raised_ = std::current_exception();
  }

  void rethrow() {
    const std::scoped_lock lock(mutex_);
    if (raised_) std::rethrow_exception(raised_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr raised_;
};

// Passes a build's steps on, and remembers how it was cancelled: by an answer or by an exception.
class Progress {
 public:
  explicit Progress(const tensorrt::ProgressFunction& function) : function_(function) {}

  bool report(const tensorrt::BuildProgress& step) {
    if (cancelled_) return false;
    if (!function_) return true;
    try {
      if (!function_(step)) cancelled_ = true;
    } catch (...) {
      raised_.keep();
      cancelled_ = true;
    }
    return !cancelled_;
  }

  /// @throws what the function threw, else BuildError.
  void throw_if_cancelled() {
    if (!cancelled_) return;
    raised_.rethrow();
    throw BuildError("the build was cancelled");
  }

 private:
  const tensorrt::ProgressFunction& function_;
  std::atomic<bool> cancelled_ = false;
  Raised raised_;
};

struct Input {
  std::string name;
  Shape shape;
  bool is_shape_value;

  [[nodiscard]] bool needs_profile() const { return is_dynamic(shape) || is_shape_value; }
};

std::vector<Input> inputs_of(const Object& network) {
  std::vector<Input> inputs;
  const int count = network.call<VNetworkDefinition::getNbInputs>();
  for (int index = 0; index < count; ++index) {
    const View tensor(network.abi(), network.call<VNetworkDefinition::getInput>(index));
    inputs.push_back({tensorrt::text(tensor.call<VTensor::getName>()),
                      to_shape(tensor.call<VTensor::getDimensions>()),
                      tensor.call<VTensor::isShapeTensor>()});
  }
  return inputs;
}

std::string names_of(const std::vector<Input>& inputs) {
  std::string names;
  for (const auto& input : inputs)
    names += (names.empty() ? "" : ", ") + input.name + str(input.shape);
  return names;
}

auto bounds_of(const ShapeRange& range) {
  return std::array{std::pair{ProfileSelector::kMin, &range.min},
                    std::pair{ProfileSelector::kOpt, &range.opt},
                    std::pair{ProfileSelector::kMax, &range.max}};
}

// Before TensorRT 10.11 shape values have 32 bits.
bool set_values(const View& profile, const char* input, ProfileSelector select,
                const Shape& values) {
  const auto count = static_cast<std::int32_t>(values.size());
  if (profile.abi().has<VOptimizationProfile::setShapeValuesV2>()) {
    return profile.call<VOptimizationProfile::setShapeValuesV2>(input, select, values.data(),
                                                                count);
  }
  std::vector<std::int32_t> narrow;
  for (const std::int64_t value : values) {
    if (!std::in_range<std::int32_t>(value)) return false;
    narrow.push_back(static_cast<std::int32_t>(value));
  }
  return profile.call<VOptimizationProfile::setShapeValues, const char*, ProfileSelector,
                      const std::int32_t*>(input, select, narrow.data(), count);
}

void set_shape_values(const View& profile, const Input& input, const ShapeRange& range) {
  std::int64_t count = 1;
  for (const std::int64_t size : input.shape) count *= size;
  // TensorRT takes the count on trust.
  if (range.opt.size() != static_cast<std::size_t>(count) || !range.contains(range.opt)) {
    throw InputError("input '" + input.name + "' holds " + std::to_string(count) +
                     " values that decide shapes: min <= opt <= max of as many values does not "
                     "hold for " +
                     str(range.min) + ", " + str(range.opt) + ", " + str(range.max));
  }
  for (const auto& [select, values] : bounds_of(range)) {
    const ErrorScope scope;
    require<InputError>(set_values(profile, input.name.c_str(), select, *values),
                        "IOptimizationProfile::setShapeValues", scope);
  }
}

void set_dimensions(const View& profile, const Input& input, const ShapeRange& range) {
  for (const Shape* shape : {&range.min, &range.opt, &range.max}) {
    const bool fits = shape->size() == input.shape.size() &&
                      std::ranges::equal(input.shape, *shape, [](auto fixed, auto asked) {
                        return fixed < 0 ? asked >= 0 : fixed == asked;
                      });
    if (!fits) {
      throw InputError("shape " + str(*shape) + " does not fit input '" + input.name +
                       "' of shape " + str(input.shape) + ", where -1 is dynamic");
    }
  }
  if (!range.contains(range.opt)) {
    throw InputError("input '" + input.name + "': min <= opt <= max does not hold for " +
                     str(range.min) + ", " + str(range.opt) + ", " + str(range.max));
  }
  for (const auto& [select, shape] : bounds_of(range)) {
    const ErrorScope scope;
    const tensorrt::Dims dims = to_dims(*shape);
    require<InputError>(
        profile.call<VOptimizationProfile::setDimensions, const char*, ProfileSelector,
                     const tensorrt::Dims&>(input.name.c_str(), select, dims),
        "IOptimizationProfile::setDimensions", scope);
  }
}

void add_profile(const Object& builder, const Object& config, const std::vector<Input>& inputs,
                 const Profile& ranges) {
  for (const auto& [name, range] : ranges) {
    if (std::ranges::none_of(inputs, [&](const Input& input) { return input.name == name; })) {
      throw InputError("the model has no input '" + name + "': its inputs are " + names_of(inputs));
    }
  }
  const ErrorScope scope;
  const View profile(builder.abi(),
                     require<BuildError>(builder.call<VBuilder::createOptimizationProfile>(),
                                         "IBuilder::createOptimizationProfile", scope));
  for (const auto& input : inputs) {
    const auto range = ranges.find(input.name);
    if (range == ranges.end()) {
      if (!input.needs_profile()) continue;
      throw InputError(
          "input '" + input.name + "' " +
          (input.is_shape_value
               ? "decides shapes by its values: give their min, opt and max as its shapes"
               : "has the dynamic shape " + str(input.shape) +
                     ": give its min, opt and max shapes"));
    }
    if (is_dynamic(input.shape) || !input.is_shape_value) {
      set_dimensions(profile, input, range->second);
    } else {
      set_shape_values(profile, input, range->second);
    }
  }
  require<BuildError>(profile.call<VOptimizationProfile::isValid>(),
                      "IOptimizationProfile::isValid", scope);
  const int index = config.call<VBuilderConfig::addOptimizationProfile>(profile.get());
  require<BuildError>(index >= 0, "IBuilderConfig::addOptimizationProfile", scope);
}

void choose_tf32(const Object& config, bool tf32) {
  if (!config.abi().has(tensorrt::Capability::kTf32Choice)) return;
  if (tf32) {
    config.call<VBuilderConfig::setFlag>(tensorrt::BuilderFlag::kTf32);
  } else {
    config.call<VBuilderConfig::clearFlag>(tensorrt::BuilderFlag::kTf32);
  }
}

void set_targets(const Object& config, const std::vector<int>& targets) {
  if (targets.empty()) return;
  if (!config.abi().has(tensorrt::Capability::kComputeTargets)) {
    throw InputError("targets: TensorRT " + config.library()->version().str() +
                     " builds for the GPU at hand only; TensorRT-RTX takes targets");
  }
  const auto version = config.library()->version();
  for (const int target : targets) {
    if (!tensorrt::supports(version, target)) {
      throw InputError("target " + std::to_string(target) + " is not one that TensorRT-RTX " +
                       version.str() + " builds for: " + tensorrt::supported_list(version));
    }
  }
  const ErrorScope scope;
  require<InputError>(config.call<VBuilderConfig::setNbComputeCapabilities>(
                          static_cast<std::int32_t>(targets.size())),
                      "IBuilderConfig::setNbComputeCapabilities", scope);
  for (std::size_t index = 0; index < targets.size(); ++index) {
    require<InputError>(config.call<VBuilderConfig::setComputeCapability>(
                            targets[index], static_cast<std::int32_t>(index)),
                        "IBuilderConfig::setComputeCapability", scope);
  }
}

std::vector<LayerInfo> layers_of(const Object& network) {
  std::vector<LayerInfo> layers;
  const int count = network.call<VNetworkDefinition::getNbLayers>();
  for (int index = 0; index < count; ++index) {
    const View layer(network.abi(), network.call<VNetworkDefinition::getLayer>(index));
    const auto dtype = [&](void* tensor) {
      return View(network.abi(), tensor).call<VTensor::getType>();
    };
    LayerInfo info{tensorrt::text(layer.call<VLayer::getName>()),
                   static_cast<int>(layer.call<VLayer::getType>()),
                   {},
                   {}};
    for (int i = 0; i < layer.call<VLayer::getNbInputs>(); ++i) {
      // An optional input that is not there is null.
      if (void* tensor = layer.call<VLayer::getInput>(i)) info.inputs.push_back(dtype(tensor));
    }
    for (int i = 0; i < layer.call<VLayer::getNbOutputs>(); ++i) {
      if (void* tensor = layer.call<VLayer::getOutput>(i)) info.outputs.push_back(dtype(tensor));
    }
    layers.push_back(std::move(info));
  }
  return layers;
}

// TensorRT has no error code that carries a layer, but its messages name it.
std::string first_named(const std::vector<LayerInfo>& layers, const std::string& errors) {
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  for (const auto& layer : layers) {
    const auto at = layer.name.empty() ? std::string::npos : errors.find(layer.name);
    if (at == std::string::npos) continue;
    const auto end = at + layer.name.size();
    const bool whole =
        (at == 0 || !is_word(errors[at - 1])) && (end == errors.size() || !is_word(errors[end]));
    if (whole) return layer.name;
  }
  return {};
}

// Builds the plan into a sink; false where TensorRT fails, or the sink does.
bool write_plan(const Object& builder, const Object& network, const Object& config,
                const tensorrt::WriteFunction& write) {
  if (builder.abi().has(tensorrt::Capability::kStreamedPlan)) {
    const tensorrt::StreamWriter writer(write);
    return builder.call<VBuilder::buildSerializedNetworkToStream>(network.get(), config.get(),
                                                                  writer.object());
  }
  void* plan = builder.call<VBuilder::buildSerializedNetwork>(network.get(), config.get());
  return plan != nullptr && write(tensorrt::HostMemory(builder.library(), plan).bytes());
}

}  // namespace

BuildResult build(const std::shared_ptr<const tensorrt::Library>& library,
                  std::span<const std::byte> model, const std::string& model_path,
                  const BuildOptions& options, const tensorrt::ProgressFunction& progress,
                  const PlanSink& sink) {
  const ErrorScope scope;
  std::optional<cuda::DeviceGuard> guard;
  if (!cuda::devices().list.empty()) guard.emplace(cuda::device(options.device).index);
  Progress watched(progress);
  // Declared first, for TensorRT's objects hold its address.
  const tensorrt::ProgressMonitor monitor(
      [&](const tensorrt::BuildProgress& step) { return watched.report(step); });

  std::optional<Object> timings;  // before the builder, which it must outlive

  const auto builder = std::make_shared<const Object>(
      library, require<BuildError>(library->create_builder(), "createInferBuilder", scope));
  const Object network(library,
                       require<BuildError>(builder->call<VBuilder::createNetworkV2>(
                                               library->abi().strongly_typed_flags()),
                                           "IBuilder::createNetworkV2", scope),
                       builder);
  // It holds the parsed weights, which the build still reads.
  const tensorrt::Parser parser(network);
  parser.parse(model, model_path);

  const Object config(library,
                      require<BuildError>(builder->call<VBuilder::createBuilderConfig>(),
                                          "IBuilder::createBuilderConfig", scope),
                      builder);
  config.call<VBuilderConfig::setProgressMonitor>(monitor.object());
  config.call<VBuilderConfig::setProfilingVerbosity>(tensorrt::ProfilingVerbosity::kDetailed);
  if (options.workspace) {
    config.call<VBuilderConfig::setMemoryPoolLimit>(tensorrt::MemoryPool::kWorkspace,
                                                    *options.workspace);
  }
  if (options.optimization_level) {
    config.call<VBuilderConfig::setBuilderOptimizationLevel>(*options.optimization_level);
    require<InputError>(
        config.call<VBuilderConfig::getBuilderOptimizationLevel>() == *options.optimization_level,
        "IBuilderConfig::setBuilderOptimizationLevel", scope);
  }
  choose_tf32(config, options.tf32);
  set_targets(config, options.targets);
  if (library->abi().has(tensorrt::Capability::kTimingCache)) {
    timings.emplace(use_timings(config, options.timings));
  }

  const auto inputs = inputs_of(network);
  const bool needs_profile =
      std::ranges::any_of(inputs, [](const Input& input) { return input.needs_profile(); });
  if (options.profiles.empty() && needs_profile) add_profile(*builder, config, inputs, {});
  for (const auto& profile : options.profiles) add_profile(*builder, config, inputs, profile);

  auto layers = layers_of(network);
  Raised raised;
  bool refused = false;
  const bool done = write_plan(*builder, network, config, [&](std::span<const std::byte> bytes) {
    if (refused) return false;
    try {
      sink(bytes);
    } catch (...) {
      raised.keep();
      refused = true;
    }
    return !refused;
  });
  raised.rethrow();  // TensorRT-RTX says that all went well when a write fails
  if (!done) {
    watched.throw_if_cancelled();
    tensorrt::throw_if_out_of_memory(scope);
    const std::string node = first_named(layers, scope.errors());
    throw BuildError("TensorRT cannot build an engine from this model" +
                         (node.empty() ? "" : ", because of node '" + node + "'") + ": " +
                         scope.errors(),
                     node);
  }
  return {std::move(layers), timings ? timings_of(*timings) : std::vector<std::byte>()};
}

}  // namespace trtfast
