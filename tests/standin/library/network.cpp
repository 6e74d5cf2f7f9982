// Networks, their tensors and their layers.
#include <algorithm>

#include "call.h"
#include "objects.h"

namespace standin {

namespace {

template <class T>
void* face_at(const std::vector<std::shared_ptr<T>>& objects, std::int32_t index) {
  return objects[static_cast<std::size_t>(index)] != nullptr
             ? &objects[static_cast<std::size_t>(index)]->face
             : nullptr;
}

template <class T>
bool has_index(const std::vector<T>& list, std::int32_t index) {
  return index >= 0 && static_cast<std::size_t>(index) < list.size();
}

template <class T>
std::int32_t count(const std::vector<T>& list) {
  return static_cast<std::int32_t>(list.size());
}

}  // namespace

VTable Tensor::make_table() {
  using namespace method::VTensor;  // NOLINT(google-build-using-namespace): a table of names
  VTable table;
  table.set<getName>([](void* self) noexcept -> const char* {
    const Call<Tensor> call(self, "ITensor::getName");
    return call ? call->definition.name.c_str() : nullptr;
  });
  table.set<getDimensions>([](void* self) noexcept {
    const Call<Tensor> call(self, "ITensor::getDimensions");
    return call ? to_dims(call->definition.shape) : Dims{-1, {}};
  });
  table.set<getType>([](void* self) noexcept {
    const Call<Tensor> call(self, "ITensor::getType");
    return call ? call->definition.type : DataType::kFloat;
  });
  table.set<isShapeTensor>([](void* self) noexcept {
    const Call<Tensor> call(self, "ITensor::isShapeTensor");
    return call && call->definition.is_shape_value;
  });
  return table;
}

VTable Layer::make_table() {
  using namespace method::VLayer;  // NOLINT(google-build-using-namespace): a table of names
  VTable table;
  table.set<getType>([](void* self) noexcept {
    const Call<Layer> call(self, "ILayer::getType");
    return trtfast::tensorrt::LayerType{4};
  });
  table.set<getName>([](void* self) noexcept -> const char* {
    const Call<Layer> call(self, "ILayer::getName");
    return call ? call->op.node.c_str() : nullptr;
  });
  table.set<getNbInputs>([](void* self) noexcept {
    const Call<Layer> call(self, "ILayer::getNbInputs");
    return call ? count(call->inputs) : 0;
  });
  table.set<getNbOutputs>([](void* self) noexcept {
    const Call<Layer> call(self, "ILayer::getNbOutputs");
    return call ? count(call->outputs) : 0;
  });
  table.set<getInput>([](void* self, std::int32_t index) noexcept -> void* {
    Call<Layer> call(self, "ILayer::getInput", std::to_string(index));
    if (!call) return nullptr;
    if (has_index(call->inputs, index)) return face_at(call->inputs, index);
    call.violate("there is no such input");
    return nullptr;
  });
  table.set<getOutput>([](void* self, std::int32_t index) noexcept -> void* {
    Call<Layer> call(self, "ILayer::getOutput", std::to_string(index));
    if (!call) return nullptr;
    if (has_index(call->outputs, index)) return face_at(call->outputs, index);
    call.violate("there is no such output");
    return nullptr;
  });
  return table;
}

VTable Network::make_table() {
  using namespace method::VNetworkDefinition;  // NOLINT(google-build-using-namespace): names
  VTable table;
  table.set<getNbLayers>([](void* self) noexcept {
    const Call<Network> call(self, "INetworkDefinition::getNbLayers");
    return call ? count(call->layers) : 0;
  });
  table.set<getNbInputs>([](void* self) noexcept {
    const Call<Network> call(self, "INetworkDefinition::getNbInputs");
    return call ? count(call->inputs) : 0;
  });
  table.set<getLayer>([](void* self, std::int32_t index) noexcept -> void* {
    Call<Network> call(self, "INetworkDefinition::getLayer", std::to_string(index));
    if (!call) return nullptr;
    if (has_index(call->layers, index)) return face_at(call->layers, index);
    call.violate("there is no such layer");
    return nullptr;
  });
  table.set<getInput>([](void* self, std::int32_t index) noexcept -> void* {
    Call<Network> call(self, "INetworkDefinition::getInput", std::to_string(index));
    if (!call) return nullptr;
    if (has_index(call->inputs, index)) return face_at(call->inputs, index);
    call.violate("there is no such input");
    return nullptr;
  });
  return table;
}

void Network::fill(const Model& parsed) {
  model = parsed;
  std::map<std::string, std::shared_ptr<Tensor>> tensors;
  for (const auto& definition : model.tensors) {
    auto tensor = make_object<Tensor>(this, logger);
    tensor->definition = definition;
    if (definition.is_input) inputs.push_back(tensor);
    tensors[definition.name] = std::move(tensor);
  }
  for (const auto& op : model.ops) {
    auto layer = make_object<Layer>(this, logger);
    layer->op = op;
    for (const auto& input : op.inputs) layer->inputs.push_back(tensors[input]);
    if (op.inputs.size() == 1) layer->inputs.push_back(nullptr);  // an optional input
    layer->outputs.push_back(tensors[op.output]);
    layers.push_back(std::move(layer));
  }
}

}  // namespace standin
