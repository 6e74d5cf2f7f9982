#include "engine/plan.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

#include "cuda/device.h"
#include "error.h"
#include "tensorrt/devices.h"

namespace trtfast {
namespace {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::ErrorScope;
using tensorrt::Object;
using tensorrt::ProfileSelector;
using tensorrt::require;

// Plans begin with "ftrt" (TensorRT) or "vtrt" (TensorRT-RTX); the library itself does not survive
// all that does not.
bool begins_as_plan(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return text.starts_with("ftrt") || text.starts_with("vtrt");
}

// TensorRT-RTX writes a plan's whole size into its header.
bool is_cut_short(std::span<const std::byte> bytes) {
  constexpr std::size_t kSizeAt = 16;
  constexpr std::size_t kHeader = 64;
  if (static_cast<char>(bytes[0]) != 'v') return false;
  if (bytes.size() < kHeader) return true;
  std::uint64_t size = 0;
  std::memcpy(&size, bytes.data() + kSizeAt, sizeof(size));
  return bytes.size() < size;
}

void check_device(const tensorrt::Library& library, int index, bool allow_unsupported_gpu) {
  const auto gpu = cuda::device(index);
  const int capability = gpu.compute_capability;
  if (allow_unsupported_gpu || tensorrt::supports(library.version(), capability)) return;
  throw UnsupportedDeviceError(
      std::string(library.product()) + " " + library.full_version() + " does not list GPU " +
      std::to_string(index) + ", " + gpu.name + " of compute capability " +
      std::to_string(capability / 10) + "." + std::to_string(capability % 10) +
      ", as supported. Install TensorRT for it, or set TRTFAST_ALLOW_UNSUPPORTED_GPU=1 to try at "
      "your own risk and check the results with float16 or bfloat16.");
}

std::shared_ptr<const Object> deserialize(const std::shared_ptr<const tensorrt::Library>& library,
                                          std::span<const std::byte> bytes) {
  if (!begins_as_plan(bytes)) {
    throw EngineIncompatibleError("these " + std::to_string(bytes.size()) +
                                  " bytes are not a TensorRT plan: build the engine again");
  }
  if (is_cut_short(bytes)) {
    throw EngineIncompatibleError("this plan is cut short, at " + std::to_string(bytes.size()) +
                                  " bytes: copy it again, or build the engine again");
  }
  const ErrorScope scope;
  const auto runtime = std::make_shared<const Object>(
      library,
      require<EngineIncompatibleError>(library->create_runtime(), "createInferRuntime", scope));
  const void* data = bytes.data();
  void* engine = runtime->call<VRuntime::deserializeCudaEngine>(data, bytes.size());
  if (engine == nullptr) {
    tensorrt::throw_if_out_of_memory(scope);
    throw EngineIncompatibleError(
        std::string(library->product()) + " " + library->full_version() +
        " cannot load this plan: it may be cut short, or built by another "
        "version or for another GPU. Build it again here. TensorRT says: " +
        scope.errors());
  }
  return std::make_shared<const Object>(library, engine, runtime);
}

std::size_t element_count(const Shape& shape) { return byte_size(shape, DataType::kInt8); }

/// What `of` tells for each bound of each profile.
template <class Of>
std::vector<ShapeRange> ranges(const Object& engine, Of of) {
  std::vector<ShapeRange> found;
  const int profiles = engine.call<VCudaEngine::getNbOptimizationProfiles>();
  found.reserve(static_cast<std::size_t>(profiles));
  for (int profile = 0; profile < profiles; ++profile) {
    found.push_back({of(profile, ProfileSelector::kMin), of(profile, ProfileSelector::kOpt),
                     of(profile, ProfileSelector::kMax)});
  }
  return found;
}

// Before TensorRT 10.11 they have 32 bits. Empty where TensorRT tells none.
Shape profile_values(const Object& engine, const TensorSpec& spec, int profile,
                     ProfileSelector select) {
  const char* name = spec.name.c_str();
  const auto copied = [&](const auto* values) {
    return values != nullptr ? Shape(values, values + element_count(spec.shape)) : Shape();
  };
  return engine.abi().has<VCudaEngine::getProfileTensorValuesV2>()
             ? copied(engine.call<VCudaEngine::getProfileTensorValuesV2>(name, profile, select))
             : copied(engine.call<VCudaEngine::getProfileTensorValues>(name, profile, select));
}

TensorSpec spec_of(const Object& engine, const char* name, bool is_input) {
  TensorSpec spec{
      name,
      engine.call<VCudaEngine::getTensorDataType>(name),
      to_shape(engine.call<VCudaEngine::getTensorShape>(name)),
      engine.call<VCudaEngine::getTensorLocation>(name) == tensorrt::TensorLocation::kHost,
      engine.call<VCudaEngine::isShapeInferenceIO>(name),
      {},
      {}};
  if (!is_input) return spec;
  if (is_dynamic(spec.shape)) {
    spec.profiles = ranges(engine, [&](int profile, ProfileSelector select) {
      return to_shape(engine.call<VCudaEngine::getProfileShape>(name, profile, select));
    });
  } else if (spec.is_shape_value &&
             (spec.dtype == DataType::kInt64 || spec.dtype == DataType::kInt32)) {
    spec.values = ranges(engine, [&](int profile, ProfileSelector select) {
      return profile_values(engine, spec, profile, select);
    });
  }
  return spec;
}

/// The value of an input that decides shapes.
Shape values_of(const TensorView& input) {
  const auto copied = [&]<class Value>(Value first) {
    Shape values;
    for (std::size_t index = 0; index < element_count(input.shape); ++index) {
      std::memcpy(&first, input.data + (index * sizeof(Value)), sizeof(Value));
      values.push_back(first);
    }
    return values;
  };
  return input.dtype == DataType::kInt64 ? copied(std::int64_t{}) : copied(std::int32_t{});
}

bool fits(const TensorSpec& spec, const TensorView& input, std::size_t profile) {
  if (!spec.profiles.empty()) return spec.profiles[profile].contains(input.shape);
  if (spec.values.empty() || spec.values[profile].opt.empty()) return true;
  return spec.values[profile].contains(values_of(input));
}

/// TensorRT-RTX tells an output's shape for the first profile, also where others give another. What
/// is as long as an axis of an input that profiles make longer, may follow from it.
void mark_dynamic(TensorSpec& output, std::span<const TensorSpec> inputs) {
  for (auto& size : output.shape) {
    for (const auto& input : inputs) {
      for (std::size_t axis = 0; axis < input.shape.size() && !input.profiles.empty(); ++axis) {
        if (input.shape[axis] < 0 && input.profiles.front().opt[axis] == size) size = -1;
      }
    }
  }
}

}  // namespace

Plan::Plan(const std::shared_ptr<const tensorrt::Library>& library,
           std::span<const std::byte> bytes, int device, bool allow_unsupported_gpu,
           std::span<const std::byte> kernels)
    : device_(device) {
  check_device(*library, device, allow_unsupported_gpu);
  const cuda::DeviceGuard guard(device);
  const ErrorScope scope;
  Alone lock;
  if (tensorrt::is_rtx(library->abi().generation())) lock = lock_rtx();
  // A local until all has gone well: what fails is then freed with the GPU still current.
  auto engine = deserialize(library, bytes);
  const int count = engine->call<VCudaEngine::getNbIOTensors>();
  for (int index = 0; index < count; ++index) {
    const char* name = require<Error>(engine->call<VCudaEngine::getIOTensorName>(index),
                                      "ICudaEngine::getIOTensorName", scope);
    const bool is_input =
        engine->call<VCudaEngine::getTensorIOMode>(name) == tensorrt::TensorIOMode::kInput;
    (is_input ? inputs_ : outputs_).push_back(spec_of(*engine, name, is_input));
  }
  profiles_ = engine->call<VCudaEngine::getNbOptimizationProfiles>();
  if (profiles_ > 1) {
    for (auto& output : outputs_) mark_dynamic(output, inputs_);
  }
  has_values_ = std::ranges::any_of(inputs_, &TensorSpec::on_host);
  contexts_ = std::make_unique<const Contexts>(engine, kernels);
  engine_ = std::move(engine);
}

Plan::~Plan() {
  cuda::release_on(device_, [this] {
    contexts_.reset();
    engine_.reset();
  });
}

void Plan::note_shapes(std::span<const TensorView> inputs) const {
  constexpr std::size_t kMost = 1024;  // what has more shapes than this is not worth keeping
  if (!contexts_->compiles()) return;
  std::vector<Shape> shapes;
  for (const auto& input : inputs) shapes.push_back(input.shape);
  const std::scoped_lock lock(mutex_);
  if (seen_.size() < kMost && seen_.insert(std::move(shapes)).second) new_kernels_ = true;
}

std::vector<std::byte> Plan::kernels() const {
  const cuda::DeviceGuard guard(device_);
  return contexts_->kernels();
}

int Plan::profile_for(std::span<const TensorView> inputs) const {
  for (int profile = 0; profile < profiles_; ++profile) {
    bool all_fit = true;
    for (std::size_t index = 0; all_fit && index < inputs.size(); ++index) {
      all_fit = fits(inputs_[index], inputs[index], static_cast<std::size_t>(profile));
    }
    if (all_fit) return profile;
  }
  std::string given;
  for (std::size_t index = 0; index < inputs.size(); ++index) {
    const TensorSpec& spec = inputs_[index];
    given +=
        (index > 0 ? ", " : "") + spec.name +
        (spec.values.empty() ? str(inputs[index].shape) : " = " + str(values_of(inputs[index])));
  }
  throw InputError("no optimisation profile of this engine fits " + given +
                   ": stay inside one, or build the engine with wider profiles");
}

std::string Plan::inspect() const {
  const ErrorScope scope;
  const cuda::DeviceGuard guard(device_);
  const Object inspector(engine_->library(),
                         require<Error>(engine_->call<VCudaEngine::createEngineInspector>(),
                                        "ICudaEngine::createEngineInspector", scope),
                         engine_);
  return require<Error>(inspector.call<VEngineInspector::getEngineInformation>(
                            tensorrt::LayerInformationFormat::kJson),
                        "IEngineInspector::getEngineInformation", scope);
}

}  // namespace trtfast
