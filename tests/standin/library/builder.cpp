// The builder, its configuration and its profiles.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "call.h"
#include "cuda.h"
#include "objects.h"
#include "release.h"

namespace standin {
namespace {

using trtfast::tensorrt::ProfileSelector;

std::uint32_t strongly_typed() noexcept { return kRelease.modern() ? 1U : 2U; }

void* create_network(void* self, std::uint32_t flags) noexcept {
  Call<Builder> call(self, "IBuilder::createNetworkV2", std::to_string(flags));
  if (!call) return nullptr;
  if (flags != strongly_typed()) {
    call.violate("the flags are not those of a strongly typed network");
    return nullptr;
  }
  return &make_object<Network>(&*call, call->logger)->face;
}

/// The phases of a build; false once the user cancels.
class Phases {
 public:
  explicit Phases(void* monitor) noexcept : monitor_(monitor) {}

  [[nodiscard]] bool run() const {
    start("Building engine", nullptr, 3);
    bool go_on = step("Building engine", 0);
    if (go_on) {
      start("Tactic selection", "Building engine", 2);
      go_on = step("Tactic selection", 0) && step("Tactic selection", 1);
      finish("Tactic selection");
    }
    go_on = go_on && step("Building engine", 1) && step("Building engine", 2);
    finish("Building engine");  // of a cancelled build too
    return go_on;
  }

 private:
  void start(const char* phase, const char* parent, std::int32_t steps) const noexcept {
    if (monitor_ != nullptr) call_slot<void>(monitor_, 4, phase, parent, steps);
  }
  bool step(const char* phase, std::int32_t index) const noexcept {
    return monitor_ == nullptr || call_slot<bool>(monitor_, 5, phase, index);
  }
  void finish(const char* phase) const noexcept {
    if (monitor_ != nullptr) call_slot<void>(monitor_, 6, phase);
  }
  void* monitor_;
};

std::string profile_line(std::size_t index, const std::string& tensor, const char* what,
                         const Range& range) {
  return "profile " + std::to_string(index) + " " + tensor + " " + what + " " + str(range.min) +
         " " + str(range.opt) + " " + str(range.max) + "\n";
}

/// The model with its profiles; empty where an input that needs a range has none.
std::string with_profiles(const Network& network, const Config& config, std::string& lacking) {
  std::string text = network.model.text + "\n";
  for (const auto& input : network.inputs) {
    const TensorDef& tensor = input->definition;
    if (tensor.needs_profile() && config.profiles.empty()) lacking = tensor.name;
    for (std::size_t index = 0; index < config.profiles.size(); ++index) {
      const auto& ranges =
          tensor.is_shape_value ? config.profiles[index]->values : config.profiles[index]->dims;
      const auto range = ranges.find(tensor.name);
      if (range != ranges.end()) {
        text += profile_line(index, tensor.name, tensor.is_shape_value ? "values" : "dims",
                             range->second);
      } else if (tensor.needs_profile()) {
        lacking = tensor.name;
      }
    }
  }
  return text;
}

/// Measures the operations that the timing cache does not know yet.
bool measure(Call<Builder>& call, const Model& model, TimingCache& timings) {
  if (!Recorder::instance().alive(&timings)) {
    return call.violate("the timing cache was deleted before the build");
  }
  for (const auto& op : model.ops) {
    if (timings.measured.insert(op.kind).second) Recorder::instance().call("measure", op.kind);
  }
  return true;
}

/// The bytes of the plan; none where a rule is broken or the model says that its build fails.
std::optional<std::string> build(Call<Builder>& call, void* network_face, void* config_face) {
  const auto* network = object_of<Network>(network_face);
  const auto* config = object_of<Config>(config_face);
  if (network == nullptr || config == nullptr || network->parent != &*call ||
      config->parent != &*call) {
    call.violate("the network or the configuration is not a live one of this builder");
    return std::nullopt;
  }
  if (network->parser == nullptr || !Recorder::instance().alive(network->parser)) {
    call.violate("the parser, which holds the weights, was deleted before the build");
    return std::nullopt;
  }
  const Model& model = network->model;
  std::string lacking;
  const std::string text = with_profiles(*network, *config, lacking);
  if (!lacking.empty()) {
    call.violate("an optimization profile lacks input " + lacking);
    return std::nullopt;
  }
  if (!Phases(config->monitor).run()) {
    call.refuse("[stand-in] Error Code 10: Internal Error (the build was cancelled)");
    return std::nullopt;
  }
  if (config->timings != nullptr && !measure(call, model, *config->timings)) return std::nullopt;
  if (const auto failure = model.failures.find("build"); failure != model.failures.end()) {
    call.refuse(
        "[stand-in] Error Code 10: Internal Error (Could not find any implementation for "
        "node " +
        failure->second.subject + ". " + failure->second.text + ")");
    return std::nullopt;
  }
  if (const auto memory = model.memory.find("build"); memory != model.memory.end()) {
    call.refuse(out_of_memory(memory->second));
    return std::nullopt;
  }
  return make_plan(text);
}

void* build_in_memory(void* self, void* network, void* config) noexcept {
  Call<Builder> call(self, "IBuilder::buildSerializedNetwork");
  if (!call) return nullptr;
  const auto bytes = build(call, network, config);
  if (!bytes) return nullptr;
  const auto plan = make_object<HostMemory>(nullptr, call->logger);
  plan->bytes = *bytes;
  return &plan->face;
}

bool build_to_stream(void* self, void* network, void* config, void* writer) noexcept {
  Call<Builder> call(self, "IBuilder::buildSerializedNetworkToStream");
  if (!call) return false;
  if (writer == nullptr || !is_interface(writer, "IStreamWriter")) {
    return call.violate("this is no IStreamWriter");
  }
  const auto plan = build(call, network, config);
  if (!plan) return false;
  // As TensorRT does, in pieces: here small ones. TensorRT-RTX was seen to go on when one fails.
  constexpr std::size_t kPiece = 50;
  for (std::size_t at = 0; at < plan->size(); at += kPiece) {
    const auto size = static_cast<std::int64_t>(std::min(kPiece, plan->size() - at));
    const void* piece = plan->data() + at;
    if (call_slot<std::int64_t>(writer, 4, piece, size) != size && !kRelease.rtx()) {
      return call.refuse("[stand-in] Error Code 1: Serialization (the stream takes no more)");
    }
  }
  return true;
}

Shape* selected(Range& range, ProfileSelector select) noexcept {
  switch (select) {
    case ProfileSelector::kMin: return &range.min;
    case ProfileSelector::kOpt: return &range.opt;
    case ProfileSelector::kMax: return &range.max;
  }
  return nullptr;
}

template <class Value>
bool set_values(void* self, const char* input, ProfileSelector select, const Value* values,
                std::int32_t count, const char* name) noexcept {
  Call<Profile> call(self, name, quoted(input));
  if (!call) return false;
  if (input == nullptr || values == nullptr || count < 1) return call.violate("no values");
  Shape* shape = selected(call->values[input], select);
  if (shape == nullptr) return call.violate("there is no such selector");
  shape->assign(values, values + count);
  return true;
}

}  // namespace

VTable Builder::make_table() {
  namespace names = method::VBuilder;
  VTable table;
  table.set<names::createNetworkV2>(&create_network);
  table.set<names::buildSerializedNetwork>(&build_in_memory);
  table.set<names::buildSerializedNetworkToStream>(&build_to_stream);
  table.set<names::createBuilderConfig>([](void* self) noexcept -> void* {
    const Call<Builder> call(self, "IBuilder::createBuilderConfig");
    return call ? &make_object<Config>(&*call, call->logger)->face : nullptr;
  });
  table.set<names::createOptimizationProfile>([](void* self) noexcept -> void* {
    const Call<Builder> call(self, "IBuilder::createOptimizationProfile");
    return call ? &make_object<Profile>(&*call, call->logger)->face : nullptr;
  });
  return table;
}

VTable Profile::make_table() {
  namespace names = method::VOptimizationProfile;
  VTable table;
  table.set<names::setDimensions>(
      [](void* self, const char* input, ProfileSelector select, const Dims& dims) noexcept {
        Call<Profile> call(self, "IOptimizationProfile::setDimensions",
                           quoted(input) + ", " + str(to_shape(dims)));
        if (!call) return false;
        const Shape shape = to_shape(dims);
        if (input == nullptr || dims.nb < 0 || dims.nb > Dims::kMax || is_dynamic(shape)) {
          return call.violate("the dimensions must be known");
        }
        Shape* target = selected(call->dims[input], select);
        if (target == nullptr) return call.violate("there is no such selector");
        *target = shape;
        return true;
      });
  table.set<names::setShapeValues>([](void* self, const char* input, ProfileSelector select,
                                      const std::int32_t* values, std::int32_t count) noexcept {
    return set_values(self, input, select, values, count, "IOptimizationProfile::setShapeValues");
  });
  table.set<names::setShapeValuesV2>([](void* self, const char* input, ProfileSelector select,
                                        const std::int64_t* values, std::int32_t count) noexcept {
    return set_values(self, input, select, values, count, "IOptimizationProfile::setShapeValuesV2");
  });
  table.set<names::isValid>([](void* self) noexcept {
    const Call<Profile> call(self, "IOptimizationProfile::isValid");
    const auto ordered = [](const auto& entry) {
      const Range& range = entry.second;
      return range.contains(range.opt) && range.contains(range.min);
    };
    return call && std::ranges::all_of(call->dims, ordered) &&
           std::ranges::all_of(call->values, ordered);
  });
  return table;
}

VTable Config::make_table() {
  using namespace method::VBuilderConfig;  // NOLINT(google-build-using-namespace): names
  VTable table;
  table.set<setMemoryPoolLimit>(
      [](void* self, trtfast::tensorrt::MemoryPool pool, std::size_t bytes) noexcept {
        Call<Config> call(self, "IBuilderConfig::setMemoryPoolLimit", std::to_string(bytes));
        const auto index = static_cast<int>(pool);
        if (call && (index < 0 || index > 5)) call.violate("there is no such pool");
      });
  table.set<setFlag>([](void* self, trtfast::tensorrt::BuilderFlag flag) noexcept {
    const Call<Config> call(self, "IBuilderConfig::setFlag",
                            std::to_string(static_cast<int>(flag)));
  });
  table.set<clearFlag>([](void* self, trtfast::tensorrt::BuilderFlag flag) noexcept {
    const Call<Config> call(self, "IBuilderConfig::clearFlag",
                            std::to_string(static_cast<int>(flag)));
  });
  table.set<setBuilderOptimizationLevel>([](void* self, std::int32_t level) noexcept {
    Call<Config> call(self, "IBuilderConfig::setBuilderOptimizationLevel", std::to_string(level));
    if (!call) return;
    if (level < 0 || level > 5) call.violate("levels go from 0 to 5");
    call->level = level;
  });
  table.set<getBuilderOptimizationLevel>([](void* self) noexcept {
    const Call<Config> call(self, "IBuilderConfig::getBuilderOptimizationLevel");
    return call ? call->level : -1;
  });
  table.set<addOptimizationProfile>([](void* self, void* face) noexcept -> std::int32_t {
    Call<Config> call(self, "IBuilderConfig::addOptimizationProfile");
    if (!call) return -1;
    const auto* profile = object_of<Profile>(face);
    if (profile == nullptr || profile->parent != call->parent) {
      call.violate("the profile is not a live one of this builder");
      return -1;
    }
    call->profiles.push_back(profile);
    return static_cast<std::int32_t>(call->profiles.size()) - 1;
  });
  table.set<setProfilingVerbosity>(
      [](void* self, trtfast::tensorrt::ProfilingVerbosity verbosity) noexcept {
        const auto value = static_cast<int>(verbosity);
        Call<Config> call(self, "IBuilderConfig::setProfilingVerbosity", std::to_string(value));
        if (call && (value < 0 || value > 2)) call.violate("there is no such verbosity");
      });
  table.set<setProgressMonitor>([](void* self, void* monitor) noexcept {
    Call<Config> call(self, "IBuilderConfig::setProgressMonitor");
    if (!call) return;
    if (monitor != nullptr && !is_interface(monitor, "IProgressMonitor")) {
      call.violate("this is no IProgressMonitor");
      return;
    }
    call->monitor = monitor;
  });
  table.set<createTimingCache>(&create_timing_cache);
  table.set<setTimingCache>(&set_timing_cache);
  table.set<setNbComputeCapabilities>([](void* self, std::int32_t count) noexcept {
    Call<Config> call(self, "IBuilderConfig::setNbComputeCapabilities", std::to_string(count));
    if (!call) return false;
    if (count < 1) return call.violate("the count must be positive");
    call->targets = count;
    return true;
  });
  table.set<setComputeCapability>(
      [](void* self, std::int32_t capability, std::int32_t index) noexcept {
        Call<Config> call(self, "IBuilderConfig::setComputeCapability",
                          std::to_string(capability) + ", " + std::to_string(index));
        if (!call) return false;
        if (index < 0 || index >= call->targets) return call.violate("no such index was declared");
        constexpr std::array kListed = {1, 75, 80, 86, 89, 120, 121};
        if (std::ranges::find(kListed, capability) != kListed.end()) return true;
        return call.refuse("[stand-in] Error Code 3: API Usage Error (unknown compute capability)");
      });
  return table;
}

VTable HostMemory::make_table() {
  VTable table;
  table.set<method::VHostMemory::data>([](void* self) noexcept -> void* {
    const Call<HostMemory> call(self, "IHostMemory::data");
    return call ? call->bytes.data() : nullptr;
  });
  table.set<method::VHostMemory::size>([](void* self) noexcept -> std::size_t {
    const Call<HostMemory> call(self, "IHostMemory::size");
    return call ? call->bytes.size() : 0;
  });
  return table;
}

}  // namespace standin
