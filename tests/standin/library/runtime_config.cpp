// What describes a runtime's engines, and what TensorRT-RTX configures and keeps for them.
#include <string>
#include <string_view>

#include "call.h"
#include "objects.h"
#include "release.h"

namespace standin {
namespace {

constexpr std::string_view kKernels = "stand-in kernels ";

}  // namespace

VTable RuntimeConfig::make_table() {
  namespace names = method::VRuntimeConfig;
  VTable table;
  table.set<names::createRuntimeCache>([](void* self) noexcept -> void* {
    const Call<RuntimeConfig> call(self, "IRuntimeConfig::createRuntimeCache");
    return call ? &make_object<RuntimeCache>(call->parent, call->logger)->face : nullptr;
  });
  table.set<names::setRuntimeCache>([](void* self, void* face) noexcept {
    Call<RuntimeConfig> call(self, "IRuntimeConfig::setRuntimeCache");
    if (!call) return false;
    call->cache = object_of<RuntimeCache>(face);
    return call->cache != nullptr || call.violate("this is no live IRuntimeCache");
  });
  table.set<names::setExecutionContextAllocationStrategy>(
      [](void* self, ContextAllocation strategy) noexcept {
        const auto value = static_cast<int>(strategy);
        Call<RuntimeConfig> call(self, "IRuntimeConfig::setExecutionContextAllocationStrategy",
                                 std::to_string(value));
        if (!call) return;
        call->allocation = strategy;
        if (value < 0 || value > 2) call.violate("there is no such strategy");
      });
  table.set<names::setDynamicShapesKernelSpecializationStrategy>(
      [](void* self, KernelSpecialization strategy) noexcept {
        const auto value = static_cast<int>(strategy);
        Call<RuntimeConfig> call(self,
                                 "IRuntimeConfig::setDynamicShapesKernelSpecializationStrategy",
                                 std::to_string(value));
        if (!call) return;
        call->kernels = strategy;
        if (value < 0 || value > 2) call.violate("there is no such strategy");
      });
  return table;
}

VTable Inspector::make_table() {
  VTable table;
  table.set<method::VEngineInspector::getEngineInformation>(
      [](void* self, trtfast::tensorrt::LayerInformationFormat format) noexcept -> const char* {
        const auto value = static_cast<int>(format);
        const Call<Inspector> call(self, "IEngineInspector::getEngineInformation",
                                   std::to_string(value));
        if (!call) return nullptr;
        const Model& model = parent_of<Engine>(*call).model;
        call->text.clear();
        for (const auto& op : model.ops) {
          call->text += (call->text.empty() ? "\"" : ", \"") + op.node + "\"";
        }
        call->text = "{\"Layers\": [" + call->text + "]}";
        return call->text.c_str();
      });
  return table;
}

VTable RuntimeCache::make_table() {
  namespace names = method::VRuntimeCache;
  VTable table;
  table.set<names::serialize>([](void* self) noexcept -> void* {
    const Call<RuntimeCache> call(self, "IRuntimeCache::serialize");
    if (!call) return nullptr;
    const auto memory = make_object<HostMemory>(nullptr, call->logger);
    memory->bytes = std::string(kKernels) + std::to_string(call->kernels);
    return &memory->face;
  });
  table.set<names::deserialize>([](void* self, const void* data, std::size_t size) noexcept {
    Call<RuntimeCache> call(self, "IRuntimeCache::deserialize", std::to_string(size) + " bytes");
    if (!call) return false;
    if (data == nullptr) return call.violate("the data are null");
    return std::string_view(static_cast<const char*>(data), size).starts_with(kKernels) ||
           call.refuse("[stand-in] Error Code 1: these are no kernels of this release");
  });
  return table;
}

}  // namespace standin
