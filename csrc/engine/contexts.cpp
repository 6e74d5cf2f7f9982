#include "engine/contexts.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "error.h"

namespace trtfast {

using namespace tensorrt::method;  // NOLINT(google-build-using-namespace): a table of names
using tensorrt::Capability;
using tensorrt::ErrorScope;
using tensorrt::Object;
using tensorrt::require;

namespace {

// Some 60 MB on the host. Ending a context and making another takes as long as ten such runs.
constexpr std::size_t kMostLayerChanges = 32768;
constexpr std::size_t kFewestChanges = 256;
constexpr std::size_t kMostChanges = 4096;

struct Locks {
  std::mutex turn;  // else those who share would keep out who is to be alone
  std::shared_mutex rtx;
};

Locks& locks() {
  static auto* made = new Locks;  // leaked: engines may outlive statics
  return *made;
}

}  // namespace

Contexts::Contexts(std::shared_ptr<const Object> engine, std::span<const std::byte> kernels)
    : engine_(std::move(engine)) {
  if (!engine_->abi().has(Capability::kKernelSpecialization)) return;
  const ErrorScope scope;
  config_.emplace(engine_->library(),
                  require<Error>(engine_->call<VCudaEngine::createRuntimeConfig>(),
                                 "ICudaEngine::createRuntimeConfig", scope),
                  engine_);
  const auto layers = std::max(1, engine_->call<VCudaEngine::getNbLayers>());
  most_changes_ = std::clamp(kMostLayerChanges / static_cast<std::size_t>(layers), kFewestChanges,
                             kMostChanges);
  // Lazy specialisation changes kernels, and so the last bits, in the middle of traffic.
  config_->call<VRuntimeConfig::setDynamicShapesKernelSpecializationStrategy>(
      tensorrt::KernelSpecialization::kEager);
  config_->call<VRuntimeConfig::setExecutionContextAllocationStrategy>(
      tensorrt::ContextAllocation::kUserManaged);
  if (!engine_->abi().has(Capability::kRuntimeCache)) return;

  void* cache = require<Error>(config_->call<VRuntimeConfig::createRuntimeCache>(),
                               "IRuntimeConfig::createRuntimeCache", scope);
  cache_.emplace(engine_->library(), cache, engine_);
  if (!kernels.empty()) {
    // Refused kernels are compiled again, which is all that a cache can lose.
    const void* data = kernels.data();
    static_cast<void>(cache_->call<VRuntimeCache::deserialize>(data, kernels.size()));
  }
  require<Error>(config_->call<VRuntimeConfig::setRuntimeCache>(cache),
                 "IRuntimeConfig::setRuntimeCache", scope);
}

Alone lock_rtx() {
  const std::scoped_lock turn(locks().turn);
  return Alone(locks().rtx);
}

Alone Contexts::alone() const { return config_ ? lock_rtx() : Alone(); }

Shared Contexts::beside_others() const {
  if (!config_) return {};
  const std::scoped_lock turn(locks().turn);
  return Shared(locks().rtx);
}

Object Contexts::make() const {
  const auto lock = alone();
  const ErrorScope scope;
  void* context =
      config_ ? engine_->call<VCudaEngine::createExecutionContextWithRuntimeConfig>(config_->get())
              : engine_->call<VCudaEngine::createExecutionContext>(
                    tensorrt::ContextAllocation::kUserManaged);
  return {engine_->library(), require<Error>(context, "ICudaEngine::createExecutionContext", scope),
          engine_};
}

std::size_t Contexts::activation_bytes() const {
  if (engine_->abi().has<VCudaEngine::getDeviceMemorySizeV2>()) {
    return static_cast<std::size_t>(engine_->call<VCudaEngine::getDeviceMemorySizeV2>());
  }
  return engine_->call<VCudaEngine::getDeviceMemorySize>();
}

void Contexts::set_activations(const Object& context, std::byte* memory, std::size_t bytes) {
  void* address = memory;
  if (context.abi().has<VExecutionContext::setDeviceMemoryV2>()) {
    context.call<VExecutionContext::setDeviceMemoryV2>(address, static_cast<std::int64_t>(bytes));
  } else {
    context.call<VExecutionContext::setDeviceMemory>(address);
  }
}

std::vector<std::byte> Contexts::kernels() const {
  if (!cache_) return {};
  const auto lock = alone();
  const ErrorScope scope;
  const tensorrt::HostMemory memory(
      engine_->library(),
      require<Error>(cache_->call<VRuntimeCache::serialize>(), "IRuntimeCache::serialize", scope));
  const auto bytes = memory.bytes();
  return {bytes.begin(), bytes.end()};
}

}  // namespace trtfast
