// The fake's captures and graphs.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fake_cuda_state.h"
#include "fake_cuda_work.h"

namespace fake_cuda {

struct Graph {
  std::vector<std::shared_ptr<Node>> nodes;
};

struct GraphExec {
  std::vector<std::shared_ptr<Node>> nodes;
  std::shared_ptr<const Mark> last;  // launch; null before the first
};

}  // namespace fake_cuda

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

namespace {

/// Whether all that other streams did in a capture comes before its origin's end.
bool joined(const Capture& capture) {
  const Clock& known = capture.streams.at(capture.origin);
  return std::ranges::all_of(capture.streams, [&known](const auto& entry) {
    const auto& [stream, clock] = entry;
    const auto own = clock.find(stream);
    if (own == clock.end()) return true;
    const auto seen = known.find(stream);
    return seen != known.end() && seen->second >= own->second;
  });
}

/// @return whether the capture was valid to the end.
bool end(const std::shared_ptr<Capture>& capture) {
  const std::scoped_lock lock(state().mutex);
  for (const auto& [handle, stream] : state().streams) {
    if (stream->capture == capture) stream->capture = nullptr;
  }
  std::erase(state().captures, capture);
  capture->over = true;
  return capture->valid;
}

std::shared_ptr<GraphExec> find_exec(cudaGraphExec_t handle, const char* function) {
  auto exec = find(state().execs, handle);
  if (exec == nullptr) fault(std::string(function) + ": no such graph, or destroyed");
  return exec;
}

/// Adds a launch or an upload behind the stream's work and behind all earlier ones of the graph.
cudaError_t submit_in_turn(const std::shared_ptr<Stream>& stream, GraphExec& exec, bool run) {
  std::shared_ptr<const Mark> before;
  {
    const std::scoped_lock lock(state().mutex);
    before = exec.last;
  }
  if (before != nullptr && before->stream != stream) wait_for(stream, before);
  const Mark launch{stream, end_of(stream).at + 1, {}};
  for (const auto& node : exec.nodes) {
    if (run && node->relaunch) node->relaunch(launch);
  }
  // It holds the nodes: a graph that is destroyed ends after its work.
  const auto error = submit(stream, [nodes = exec.nodes, run] {
    if (!run) return;
    for (const auto& node : nodes) node->run();
  });
  const auto end = std::make_shared<const Mark>(end_of(stream));
  const std::scoped_lock lock(state().mutex);
  exec.last = end;
  return error;
}

/// What a launch and an upload share.
cudaError_t send(cudaGraphExec_t handle, cudaStream_t stream_handle, const char* function,
                 bool run) {
  const auto stream = find_stream(stream_handle);
  if (const auto error = usable(stream, function); error != cudaSuccess) return error;
  const auto exec = find_exec(handle, function);
  if (exec == nullptr) return cudaErrorInvalidValue;
  if (const auto error = not_in_capture(stream, function); error != cudaSuccess) return error;
  if (fails(function)) return result(cudaErrorLaunchFailure);
  return submit_in_turn(stream, *exec, run);
}

}  // namespace

// The runtime's functions. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaStreamBeginCapture"); error != cudaSuccess) {
    return error;
  }
  if (const auto error = not_in_capture(stream, "cudaStreamBeginCapture"); error != cudaSuccess) {
    return error;
  }
  if (fails("cudaStreamBeginCapture")) return result(cudaErrorLaunchFailure);
  if (handle == nullptr || handle == cudaStreamLegacy) {
    return fault("cudaStreamBeginCapture: the default stream cannot be captured",
                 cudaErrorStreamCaptureUnsupported);
  }
  const auto capture = std::make_shared<Capture>();
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->origin = stream.get();
  capture->streams[stream.get()];
  const std::scoped_lock lock(state().mutex);
  stream->capture = capture;
  state().captures.push_back(capture);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  const auto stream = find_stream(handle);
  if (stream == nullptr) return fault("cudaStreamIsCapturing: no such stream, or destroyed");
  const std::scoped_lock lock(state().mutex);
  *status = cudaStreamCaptureStatusNone;
  if (stream->capture != nullptr) {
    *status =
        stream->capture->valid ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusInvalidated;
  }
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  *graph = nullptr;
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaStreamEndCapture"); error != cudaSuccess) return error;
  std::shared_ptr<Capture> capture;
  {
    const std::scoped_lock lock(state().mutex);
    capture = stream->capture;
  }
  if (capture == nullptr) {
    return fault("cudaStreamEndCapture: the stream is not captured", cudaErrorIllegalState);
  }
  if (capture->origin != stream.get()) {
    return fault("cudaStreamEndCapture: the capture did not begin in this stream",
                 cudaErrorStreamCaptureUnmatched);
  }
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->thread != std::this_thread::get_id()) {
    return fault("cudaStreamEndCapture: the capture did not begin on this thread",
                 cudaErrorStreamCaptureWrongThread);
  }
  if (!end(capture)) return result(cudaErrorStreamCaptureInvalidated);
  if (!joined(*capture)) {
    return fault("cudaStreamEndCapture: a stream was not joined to the first",
                 cudaErrorStreamCaptureUnjoined);
  }
  if (fails("cudaStreamEndCapture")) return result(cudaErrorLaunchFailure);
  *graph = open<cudaGraph_t>(state().graphs, std::make_shared<Graph>(Graph{capture->nodes}));
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, std::size_t* count) {
  const auto graph = find(state().graphs, handle);
  if (graph == nullptr) return fault("cudaGraphGetNodes: no such graph, or destroyed");
  if (nodes != nullptr) {
    for (std::size_t index = 0; index < *count; ++index) {
      nodes[index] = index < graph->nodes.size()
                         ? reinterpret_cast<cudaGraphNode_t>(graph->nodes[index].get())
                         : nullptr;
    }
  }
  if (nodes == nullptr || *count > graph->nodes.size()) *count = graph->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t handle, cudaGraphNodeType* type) {
  const auto* node = reinterpret_cast<const Node*>(handle);
  *type = node->copies ? cudaGraphNodeTypeMemcpy : cudaGraphNodeTypeKernel;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t handle,
                                 unsigned long long flags) {
  const auto graph = find(state().graphs, handle);
  if (graph == nullptr) return fault("cudaGraphInstantiate: no such graph, or destroyed");
  if (fails("cudaGraphInstantiate")) return result(cudaErrorMemoryAllocation);
  if (flags != 0) return fault("cudaGraphInstantiate: unknown flags");
  *exec = open<cudaGraphExec_t>(state().execs,
                                std::make_shared<GraphExec>(GraphExec{graph->nodes, nullptr}));
  return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t stream) {
  return send(exec, stream, "cudaGraphUpload", false);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return send(exec, stream, "cudaGraphLaunch", true);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return close(state().execs, exec, "cudaGraphExecDestroy");
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return close(state().graphs, graph, "cudaGraphDestroy");
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
