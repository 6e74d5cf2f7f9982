// The runtime, engines, and what describes them.
#include <algorithm>
#include <memory>
#include <utility>

#include "context.h"
#include "cuda.h"
#include "release.h"

namespace standin {
namespace {

using trtfast::tensorrt::ProfileSelector;
using trtfast::tensorrt::TensorIOMode;
using trtfast::tensorrt::TensorLocation;

constexpr std::size_t kWeights = 4096;
constexpr Dims kNoDims{-1, {}};

/// True, with the failure logged, where the model says that this stage fails.
template <class T>
bool fails(const Call<T>& call, const Model& model, const char* stage) {
  if (const auto memory = model.memory.find(stage); memory != model.memory.end()) {
    call.refuse(out_of_memory(memory->second));
    return true;
  }
  const auto failure = model.failures.find(stage);
  if (failure == model.failures.end()) return false;
  call.refuse("[stand-in] Error Code 1: " + failure->second.text);
  return true;
}

void* deserialize(void* self, const void* bytes, std::size_t size) noexcept {
  Call<Runtime> call(self, "IRuntime::deserializeCudaEngine", std::to_string(size) + " bytes");
  if (!call) return nullptr;
  if (bytes == nullptr) {
    call.violate("the plan is null");
    return nullptr;
  }
  std::string text;
  if (const auto error = open_plan(bytes, size, text)) {
    call.refuse("[stand-in] " + *error);
    return nullptr;
  }
  Model model;
  if (const auto error = read(text, model)) {
    call.refuse("[stand-in] Error Code 1: Serialization (" + *error + ")");
    return nullptr;
  }
  if (fails(call, model, "load")) return nullptr;
  const int device = cuda().current_device();
  if (device < 0) {
    call.refuse("[stand-in] Error Code 6: CUDA initialization failure");
    return nullptr;
  }
  void* weights = cuda().allocate(kWeights);
  if (weights == nullptr) {
    call.refuse(out_of_memory(kWeights));
    return nullptr;
  }
  const auto engine = make_object<Engine>(&*call, call->logger);
  engine->model = std::move(model);
  engine->narrow();
  engine->device = device;
  engine->weights = weights;
  return &engine->face;
}

void* create_context(Call<Engine>& call, ContextAllocation strategy, KernelSpecialization kernels) {
  if (cuda().current_device() != call->device) {
    call.violate("the engine's GPU is not the current one");
    return nullptr;
  }
  if (fails(call, call->model, "context")) return nullptr;
  const auto context = make_object<Context>(&*call, call->logger);
  context->activations.strategy = strategy;
  context->kernels = kernels;
  context->forget_shapes();
  const std::size_t lacking = allocate_activations(*context);
  if (lacking == 0) return &context->face;
  Recorder::instance().remove(*context);
  call.refuse(out_of_memory(lacking));
  return nullptr;
}

/// A tensor of the engine by its name, which must be right.
const TensorDef* tensor(Call<Engine>& call, const char* name) {
  if (!call) return nullptr;
  const TensorDef* found = name != nullptr ? call->model.find(name) : nullptr;
  if (found == nullptr) call.violate("the engine has no tensor " + quoted(name));
  return found;
}

Dims profile_shape(void* self, const char* name, std::int32_t index,
                   ProfileSelector select) noexcept {
  Call<Engine> call(self, "ICudaEngine::getProfileShape",
                    quoted(name) + ", " + std::to_string(index));
  const TensorDef* found = tensor(call, name);
  if (found == nullptr) return kNoDims;
  const auto& profiles = call->model.profiles;
  if (!found->is_input || index < 0 || static_cast<std::size_t>(index) >= profiles.size()) {
    call.violate("there is no such profile of this tensor");
    return kNoDims;
  }
  if (found->is_shape_value) return to_dims(found->shape);
  const auto& ranges = profiles[static_cast<std::size_t>(index)];
  const auto range = ranges.find(name);
  if (range == ranges.end()) return to_dims(found->shape);
  switch (select) {
    case ProfileSelector::kMin: return to_dims(range->second.min);
    case ProfileSelector::kOpt: return to_dims(range->second.opt);
    case ProfileSelector::kMax: return to_dims(range->second.max);
  }
  call.violate("there is no such selector");
  return kNoDims;
}

/// The values of a shape tensor in a profile; null where there are none.
const Shape* profile_values(Call<Engine>& call, const char* name, std::int32_t index,
                            ProfileSelector select) {
  const TensorDef* found = tensor(call, name);
  if (found == nullptr || !found->is_shape_value || index < 0 ||
      std::cmp_greater_equal(index, call->model.profiles.size())) {
    return nullptr;
  }
  const auto& ranges = call->model.profiles[static_cast<std::size_t>(index)];
  const auto range = ranges.find(name);
  if (range == ranges.end()) return nullptr;
  switch (select) {
    case ProfileSelector::kMin: return &range->second.min;
    case ProfileSelector::kOpt: return &range->second.opt;
    case ProfileSelector::kMax: return &range->second.max;
  }
  return nullptr;
}

const char* tensor_name(void* self, std::int32_t index) noexcept {
  Call<Engine> call(self, "ICudaEngine::getIOTensorName", std::to_string(index));
  if (!call) return nullptr;
  if (index < 0 || static_cast<std::size_t>(index) >= call->model.tensors.size()) {
    call.violate("there is no such tensor");
    return nullptr;
  }
  return call->model.tensors[static_cast<std::size_t>(index)].name.c_str();
}

}  // namespace

VTable Runtime::make_table() {
  namespace names = method::VRuntime;
  VTable table;
  table.set<names::deserializeCudaEngine>(&deserialize);
  table.set<names::getPImpl>([](void* self) noexcept -> void* {
    const Call<Runtime> call(self, "IRuntime::getPImpl");
    return call ? &call->face : nullptr;
  });
  table.set<names::setMaxThreads>([](void* self, std::int32_t threads) noexcept {
    Call<Runtime> call(self, "IRuntime::setMaxThreads", std::to_string(threads));
    if (!call) return false;
    if (threads < 1) return call.violate("there must be a thread");
    call->max_threads = threads;
    return true;
  });
  table.set<names::getMaxThreads>([](void* self) noexcept {
    const Call<Runtime> call(self, "IRuntime::getMaxThreads");
    return call ? call->max_threads : 0;
  });
  table.set<names::getLogger>([](void* self) noexcept -> void* {
    const Call<Runtime> call(self, "IRuntime::getLogger");
    return call ? call->logger : nullptr;
  });
  return table;
}

void Engine::dispose() noexcept {
  if (cuda().current_device() != device) {
    recorder->violation("~ICudaEngine: the engine's GPU is not the current one");
  }
  cuda().release(weights);
}

void Engine::narrow() {
  for (const auto& ranges : model.profiles) {
    for (const auto& [name, range] : ranges) {
      for (const Shape* shape : {&range.min, &range.opt, &range.max}) {
        for (const auto value : *shape) {
          narrow_values[shape].push_back(static_cast<std::int32_t>(value));
        }
      }
    }
  }
}

VTable Engine::make_table() {
  using namespace method::VCudaEngine;  // NOLINT(google-build-using-namespace): a table of names
  VTable table;
  table.set<getProfileShape>(&profile_shape);
  table.set<getProfileTensorValues>([](void* self, const char* name, std::int32_t index,
                                       ProfileSelector select) noexcept -> const std::int32_t* {
    Call<Engine> call(self, "ICudaEngine::getProfileTensorValues", quoted(name));
    const Shape* values = profile_values(call, name, index, select);
    return values != nullptr ? call->narrow_values.at(values).data() : nullptr;
  });
  table.set<getProfileTensorValuesV2>([](void* self, const char* name, std::int32_t index,
                                         ProfileSelector select) noexcept -> const std::int64_t* {
    Call<Engine> call(self, "ICudaEngine::getProfileTensorValuesV2", quoted(name));
    const Shape* values = profile_values(call, name, index, select);
    return values != nullptr ? values->data() : nullptr;
  });
  table.set<getIOTensorName>(&tensor_name);
  table.set<getNbLayers>([](void* self) noexcept {
    const Call<Engine> call(self, "ICudaEngine::getNbLayers");
    return call ? static_cast<std::int32_t>(call->model.ops.size()) : 0;
  });
  table.set<getNbIOTensors>([](void* self) noexcept {
    const Call<Engine> call(self, "ICudaEngine::getNbIOTensors");
    return call ? static_cast<std::int32_t>(call->model.tensors.size()) : 0;
  });
  table.set<getNbOptimizationProfiles>([](void* self) noexcept {
    const Call<Engine> call(self, "ICudaEngine::getNbOptimizationProfiles");
    if (!call) return 0;
    // An engine of fixed shapes has one profile all the same.
    return std::max(1, static_cast<std::int32_t>(call->model.profiles.size()));
  });
  table.set<getTensorShape>([](void* self, const char* name) noexcept {
    Call<Engine> call(self, "ICudaEngine::getTensorShape", quoted(name));
    const TensorDef* found = tensor(call, name);
    return found != nullptr ? to_dims(found->shape) : kNoDims;
  });
  table.set<getTensorDataType>([](void* self, const char* name) noexcept {
    Call<Engine> call(self, "ICudaEngine::getTensorDataType", quoted(name));
    const TensorDef* found = tensor(call, name);
    return found != nullptr ? found->type : DataType::kFloat;
  });
  table.set<getTensorLocation>([](void* self, const char* name) noexcept {
    Call<Engine> call(self, "ICudaEngine::getTensorLocation", quoted(name));
    const TensorDef* found = tensor(call, name);
    return found != nullptr && found->on_host ? TensorLocation::kHost : TensorLocation::kDevice;
  });
  table.set<getTensorIOMode>([](void* self, const char* name) noexcept {
    Call<Engine> call(self, "ICudaEngine::getTensorIOMode", quoted(name));
    const TensorDef* found = tensor(call, name);
    if (found == nullptr) return TensorIOMode::kNone;
    return found->is_input ? TensorIOMode::kInput : TensorIOMode::kOutput;
  });
  table.set<isShapeInferenceIO>([](void* self, const char* name) noexcept {
    Call<Engine> call(self, "ICudaEngine::isShapeInferenceIO", quoted(name));
    const TensorDef* found = tensor(call, name);
    return found != nullptr && found->on_host;
  });
  table.set<createEngineInspector>([](void* self) noexcept -> void* {
    const Call<Engine> call(self, "ICudaEngine::createEngineInspector");
    return call ? &make_object<Inspector>(&*call, call->logger)->face : nullptr;
  });
  table.set<createExecutionContext>([](void* self, ContextAllocation strategy) noexcept -> void* {
    const auto value = static_cast<int>(strategy);
    Call<Engine> call(self, "ICudaEngine::createExecutionContext", std::to_string(value));
    if (!call) return nullptr;
    if (value >= 0 && value <= 2) return create_context(call, strategy, {});
    call.violate("there is no such strategy");
    return nullptr;
  });
  table.set<getDeviceMemorySize>([](void* self) noexcept {
    const Call<Engine> call(self, "ICudaEngine::getDeviceMemorySize");
    return call ? activation_bytes(call->model) : 0;
  });
  table.set<getDeviceMemorySizeV2>([](void* self) noexcept {
    const Call<Engine> call(self, "ICudaEngine::getDeviceMemorySizeV2");
    return static_cast<std::int64_t>(call ? activation_bytes(call->model) : 0);
  });
  table.set<createRuntimeConfig>([](void* self) noexcept -> void* {
    const Call<Engine> call(self, "ICudaEngine::createRuntimeConfig");
    return call ? &make_object<RuntimeConfig>(&*call, call->logger)->face : nullptr;
  });
  table.set<createExecutionContextWithRuntimeConfig>(
      [](void* self, void* config) noexcept -> void* {
        Call<Engine> call(self, "ICudaEngine::createExecutionContextWithRuntimeConfig");
        if (!call) return nullptr;
        const auto* object = object_of<RuntimeConfig>(config);
        if (object != nullptr && object->parent == &*call) {
          return create_context(call, object->allocation, object->kernels);
        }
        call.violate("the configuration is not a live one of this engine, or its cache is none");
        return nullptr;
      });
  return table;
}

}  // namespace standin
