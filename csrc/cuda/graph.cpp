#include "cuda/graph.h"

#include "error.h"

namespace trtfast::cuda {

std::optional<Graph> Graph::capture(cudaStream_t stream, const std::function<void()>& work) {
  TRTFAST_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  bool done = true;
  try {
    work();
  } catch (const Error&) {
    done = false;  // it runs without a graph, and then tells its own error if there is one
  }
  // The capture has to be ended whatever came of it, or the stream would be of no more use.
  cudaGraph_t captured = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream, &captured);
  cudaGraphExec_t graph = nullptr;
  if (done && ended == cudaSuccess && captured != nullptr &&
      cudaGraphInstantiate(&graph, captured, 0) != cudaSuccess) {
    graph = nullptr;
  }
  if (captured != nullptr) static_cast<void>(cudaGraphDestroy(captured));
  static_cast<void>(cudaGetLastError());
  if (graph == nullptr) return std::nullopt;
  // Uploaded now, the first launch takes no longer than the others.
  Graph owner(graph);
  TRTFAST_CUDA(cudaGraphUpload(graph, stream));
  return owner;
}

}  // namespace trtfast::cuda
