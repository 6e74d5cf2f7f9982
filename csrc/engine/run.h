// A run under way on a lane, for the files that the lane is made of.
#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cuda/check.h"
#include "engine/lane.h"

namespace trtfast {

/// A run under way.
struct Lane::Run {
  const Request& request;
  cudaStream_t stream;
  std::vector<Shape> shapes;              // of the inputs, as the engine gets them
  std::optional<std::int64_t> rows = {};  // how many of them are the caller's, if not all
  Bucket* bucket = nullptr;
  Role role = Role::kGraphs;
  Executor* executor = nullptr;
  Variant* variant = nullptr;
  // All that a graph bakes in, of inputs and then of outputs: where each is on the device, null
  // where TensorRT has it on the host; and the host's end of a copy that belongs to the run, else
  // null.
  std::vector<const void*> addresses = {};
  bool has_callers_address = false;
  bool news = false;  // in what the lane holds
  std::vector<Tensor> results = {};

  /// Whether the context has run with these shapes.
  [[nodiscard]] bool& has_run() const { return bucket->has_run[static_cast<std::size_t>(role)]; }

  [[nodiscard]] std::size_t tensors() const { return addresses.size() / 2; }
  [[nodiscard]] std::size_t inputs() const { return request.inputs.size(); }
  [[nodiscard]] const void*& input(std::size_t index) { return addresses[index]; }
  [[nodiscard]] const void*& output(std::size_t index) { return addresses[inputs() + index]; }
  [[nodiscard]] const void*& source(std::size_t index) { return addresses[tensors() + index]; }
  [[nodiscard]] const void*& target(std::size_t index) { return source(inputs() + index); }

  /// How many copies the run consists of, beside what TensorRT does.
  [[nodiscard]] std::size_t copies() const {
    return tensors() - static_cast<std::size_t>(
                           std::count(addresses.begin() + static_cast<std::ptrdiff_t>(tensors()),
                                      addresses.end(), nullptr));
  }
  [[nodiscard]] const OutputView* view(std::size_t output) const {
    return request.outputs.empty() ? nullptr : &request.outputs[output];
  }
  /// Whether an output ends in page-locked memory of the lane's, for the caller to get a copy.
  [[nodiscard]] bool is_staged(std::size_t output) const {
    const auto* given = view(output);
    return given != nullptr ? given->memory == Memory::kPageable : !request.device_outputs;
  }
  /// The caller's rows of an output.
  [[nodiscard]] Shape cut(Shape shape) const {
    if (rows && !shape.empty()) shape[0] = *rows;
    return shape;
  }
};

inline void copy_async(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                       cudaStream_t stream) {
  if (bytes > 0) TRTFAST_CUDA(cudaMemcpyAsync(to, from, bytes, kind, stream));
}

}  // namespace trtfast
