#include "cuda/graph.h"

#include <algorithm>
#include <vector>

#include "error.h"

namespace trtfast::cuda {
namespace {

std::size_t count_copies(cudaGraph_t graph) {
  std::size_t count = 0;
  TRTFAST_CUDA(cudaGraphGetNodes(graph, nullptr, &count));
  std::vector<cudaGraphNode_t> nodes(count);
  TRTFAST_CUDA(cudaGraphGetNodes(graph, nodes.data(), &count));
  return static_cast<std::size_t>(std::ranges::count_if(nodes, [](cudaGraphNode_t node) {
    cudaGraphNodeType type{};
    TRTFAST_CUDA(cudaGraphNodeGetType(node, &type));
    return type == cudaGraphNodeTypeMemcpy;
  }));
}

}  // namespace

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
  const std::size_t copies = graph != nullptr ? count_copies(captured) : 0;
  if (captured != nullptr) static_cast<void>(cudaGraphDestroy(captured));
  static_cast<void>(cudaGetLastError());
  if (graph == nullptr) return std::nullopt;
  // Uploaded now, the first launch takes no longer than the others.
  Graph owner(graph, copies);
  TRTFAST_CUDA(cudaGraphUpload(graph, stream));
  return owner;
}

}  // namespace trtfast::cuda
