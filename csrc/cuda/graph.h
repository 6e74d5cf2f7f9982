// A CUDA graph: work that was captured once, and is launched by one call.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <optional>
#include <utility>

#include "cuda/check.h"

namespace trtfast::cuda {

class Graph {
 public:
  /// Captures what `work` submits to a stream, in thread-local mode: other threads may allocate and
  /// synchronise meanwhile.
  /// @return nothing if the work cannot be captured: it failed, or did what a capture forbids.
  [[nodiscard]] static std::optional<Graph> capture(cudaStream_t stream,
                                                    const std::function<void()>& work);

  Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  Graph(const Graph&) = delete;  // one owner destroys the graph
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
  }

  void launch(cudaStream_t stream) const { TRTFAST_CUDA(cudaGraphLaunch(graph_, stream)); }

 private:
  explicit Graph(cudaGraphExec_t graph) noexcept : graph_(graph) {}

  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace trtfast::cuda
