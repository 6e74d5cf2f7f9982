// A CUDA graph: work that was captured once, and is launched by one call.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
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

  Graph(Graph&& other) noexcept
      : graph_(std::exchange(other.graph_, nullptr)), copies_(other.copies_) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(graph_, other.graph_);
    std::swap(copies_, other.copies_);
    return *this;
  }
  Graph(const Graph&) = delete;  // one owner destroys the graph
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
  }

  void launch(cudaStream_t stream) const { TRTFAST_CUDA(cudaGraphLaunch(graph_, stream)); }

  /// How many copies of memory it has. They hold on to the memory that they were captured with: it
  /// must not be freed, even if new memory comes to lie at the same address. Kernels do not.
  [[nodiscard]] std::size_t copies() const noexcept { return copies_; }

 private:
  Graph(cudaGraphExec_t graph, std::size_t copies) noexcept : graph_(graph), copies_(copies) {}

  cudaGraphExec_t graph_ = nullptr;
  std::size_t copies_ = 0;
};

}  // namespace trtfast::cuda
