// From an ONNX model to a plan.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "tensorrt/api.h"

namespace trtfast {

/// The range of each dynamic input, by its name. Of an input whose value decides shapes, it is the
/// range of its values.
using Profile = std::map<std::string, ShapeRange>;

struct BuildOptions {
  std::vector<Profile> profiles;
  std::optional<std::size_t> workspace;   // bytes; TensorRT's default is all of the GPU's memory
  std::optional<int> optimization_level;  // 0 to 5; TensorRT's default is 3
  std::vector<int> targets;  // compute capabilities, major * 10 + minor; TensorRT-RTX only
  bool tf32 = false;         // whether float32 may be computed in TF32, where one can choose
  int device = 0;            // the GPU to build on, where there is one
  std::span<const std::byte> timings;  // what an earlier build measured; may be empty
};

/// A layer of the network as it was parsed, with the dtypes that the build must keep: networks are
/// strongly typed.
struct LayerInfo {
  std::string name;  // that of its ONNX node
  int type;          // TensorRT's LayerType
  std::vector<DataType> inputs;
  std::vector<DataType> outputs;
};

struct BuildResult {
  std::vector<LayerInfo> layers;
  std::vector<std::byte> timings;  // with those of the options; empty on TensorRT-RTX
};

/// Takes a plan's bytes in order: piece by piece where TensorRT writes them so, else all at once.
/// May be called on a thread of TensorRT's.
using PlanSink = std::function<void(std::span<const std::byte>)>;

/// Builds an engine. Needs no GPU where TensorRT needs none (TensorRT-RTX).
/// @param model_path where the model came from, to find weights beside it; may be empty.
/// @param progress called from several threads; returns false to cancel; may be empty.
/// @throws BuildError, naming the ONNX node where TensorRT names it; and when cancelled.
/// @throws what `progress` or `sink` threw, which cancels too.
/// @throws InputError for a profile that does not fit the model.
[[nodiscard]] BuildResult build(const std::shared_ptr<const tensorrt::Library>& library,
                                std::span<const std::byte> model, const std::string& model_path,
                                const BuildOptions& options,
                                const tensorrt::ProgressFunction& progress, const PlanSink& sink);

}  // namespace trtfast
