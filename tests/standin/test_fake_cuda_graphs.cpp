// The captures and graphs of the fake CUDA runtime.
#include <cuda_runtime_api.h>

#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "fake_cuda.h"
#include "fake_cuda_test.h"

namespace standin_test {
namespace {

using testing::HasSubstr;

class FakeCudaGraphs : public FakeCuda {
 protected:
  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) const {
    ASSERT_EQ(cudaStreamBeginCapture(stream_, mode), cudaSuccess);
  }

  /// Ends a capture that must be good.
  [[nodiscard]] cudaGraphExec_t finish() const {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return exec;
  }

  /// Ends a capture that must be invalid, and leaves the stream as it was before.
  void expect_invalid() const {
    cudaStreamCaptureStatus status{};
    EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
    EXPECT_EQ(status, cudaStreamCaptureStatusInvalidated);
    EXPECT_EQ(set(1, stream_), cudaErrorStreamCaptureInvalidated);
    auto* graph = reinterpret_cast<cudaGraph_t>(device_);
    EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated);
    EXPECT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  }
};

TEST_F(FakeCudaGraphs, ACaptureRecordsAndALaunchRuns) {
  begin();
  cudaStreamCaptureStatus status{};
  EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusActive);
  ASSERT_EQ(set(1, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(pinned_, device_, 1, cudaMemcpyDeviceToHost, stream_), cudaSuccess);
  EXPECT_NE(value(), 1) << "it is only recorded";
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream_, &graph), cudaSuccess);
  EXPECT_EQ(cudaStreamIsCapturing(stream_, &status), cudaSuccess);
  EXPECT_EQ(status, cudaStreamCaptureStatusNone);
  std::size_t count = 0;
  ASSERT_EQ(cudaGraphGetNodes(graph, nullptr, &count), cudaSuccess);
  ASSERT_EQ(count, 2);
  count = 3;
  std::vector<cudaGraphNode_t> nodes(count, reinterpret_cast<cudaGraphNode_t>(device_));
  ASSERT_EQ(cudaGraphGetNodes(graph, nodes.data(), &count), cudaSuccess);
  EXPECT_EQ(count, 2);
  EXPECT_NE(nodes[0], nodes[1]);
  EXPECT_EQ(nodes[2], nullptr);

  cudaGraphExec_t exec = nullptr;
  ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("1 graphs\n1 executable graphs"));
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(cudaGraphUpload(exec, stream_), cudaSuccess);
  EXPECT_NE(value(), 1) << "an upload does not run it";
  for (int turn = 0; turn < 2; ++turn) {
    ASSERT_EQ(set(9, stream_), cudaSuccess);
    pinned()[0] = 9;
    ASSERT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
    EXPECT_EQ(value(), 1);
    EXPECT_EQ(pinned()[0], 1);
  }
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_NE(cudaGraphLaunch(exec, stream_), cudaSuccess);
  expect_fault("no such graph, or destroyed");
}

TEST_F(FakeCudaGraphs, LaunchesKeepTheStreamsOrderAndTheirOwn) {
  begin();
  ASSERT_EQ(cudaMemcpyAsync(device_, pinned_, 1, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  auto* const exec = finish();
  fake_cuda::set_late(true);
  const auto store = [](void* memory) { *static_cast<unsigned char*>(memory) = 5; };
  ASSERT_EQ(cudaLaunchHostFunc(stream_, store, pinned_), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, other_), cudaSuccess);
  // An executable graph that is destroyed ends after its launches.
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  EXPECT_NE(value(), 5);
  ASSERT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
  EXPECT_EQ(value(), 5) << "the launch before it, in another stream, came first";
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
}

TEST_F(FakeCudaGraphs, NoticesMemoryThatWasFreedSinceTheCapture) {
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 64), cudaSuccess);
  begin();
  ASSERT_EQ(cudaMemsetAsync(memory, 1, 64, stream_), cudaSuccess);
  auto* const exec = finish();
  ASSERT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  ASSERT_EQ(cudaFree(memory), cudaSuccess);
  ASSERT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  expect_fault("memory that was freed");
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
}

TEST_F(FakeCudaGraphs, CallsThatAreNotPermittedOnACapturedStream) {
  auto* const event = make_event();
  std::vector<unsigned char> pageable(1);
  void* memory = nullptr;
  const std::vector<std::pair<std::string, std::function<cudaError_t()>>> calls = {
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(stream_); }},
      {"cudaStreamQuery", [&] { return cudaStreamQuery(stream_); }},
      {"cudaStreamDestroy", [&] { return cudaStreamDestroy(stream_); }},
      {"cudaStreamBeginCapture",
       [&] { return cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed); }},
      {"cudaDeviceSynchronize", [&] { return cudaDeviceSynchronize(); }},
      {"cudaMallocAsync", [&] { return cudaMallocAsync(&memory, 1, stream_); }},
      {"cudaMemcpyAsync of pageable memory",
       [&] {
         return cudaMemcpyAsync(device_, pageable.data(), 1, cudaMemcpyHostToDevice, stream_);
       }},
  };
  for (const auto& [name, call] : calls) {
    begin(cudaStreamCaptureModeRelaxed);
    ASSERT_EQ(set(1, stream_), cudaSuccess);
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported) << name;
    expect_fault(name + ": not permitted");
    expect_invalid();
  }
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(FakeCudaGraphs, UnsafeCallsAreForbiddenToTheCapturingThread) {
  auto* const event = make_event();
  void* spare = nullptr;
  ASSERT_EQ(cudaMalloc(&spare, 1), cudaSuccess);
  void* memory = nullptr;
  const std::vector<std::pair<std::string, std::function<cudaError_t()>>> calls = {
      {"cudaMalloc", [&] { return cudaMalloc(&memory, 1); }},
      {"cudaMallocHost", [&] { return cudaMallocHost(&memory, 1); }},
      {"cudaFree", [&] { return cudaFree(spare); }},
      {"cudaFreeHost", [&] { return cudaFreeHost(pinned_); }},
      {"cudaEventQuery", [&] { return cudaEventQuery(event); }},
      {"cudaEventSynchronize", [&] { return cudaEventSynchronize(event); }},
      {"cudaStreamQuery", [&] { return cudaStreamQuery(other_); }},
      {"cudaStreamSynchronize", [&] { return cudaStreamSynchronize(other_); }},
  };
  for (const auto& [name, call] : calls) {
    begin();
    EXPECT_EQ(call(), cudaErrorStreamCaptureUnsupported) << name;
    expect_fault(name + ": not permitted while a stream is captured");
    expect_invalid();
  }
  begin(cudaStreamCaptureModeRelaxed);
  EXPECT_EQ(cudaFree(spare), cudaSuccess) << "a relaxed capture forbids nothing";
  EXPECT_EQ(cudaGraphExecDestroy(finish()), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(FakeCudaGraphs, OtherThreadsAreForbiddenUnsafeCallsByAGlobalCapture) {
  cudaError_t allocated = cudaSuccess;
  void* memory = nullptr;
  const auto allocate = [&] { std::thread([&] { allocated = cudaMalloc(&memory, 1); }).join(); };
  begin(cudaStreamCaptureModeThreadLocal);
  allocate();
  EXPECT_EQ(allocated, cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(finish()), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  begin(cudaStreamCaptureModeGlobal);
  allocate();
  EXPECT_EQ(allocated, cudaErrorStreamCaptureUnsupported);
  expect_fault("cudaMalloc: not permitted while a stream is captured");
  expect_invalid();
}

TEST_F(FakeCudaGraphs, OneThreadBeginsAndEndsACapture) {
  begin();
  cudaError_t error = cudaSuccess;
  cudaGraph_t graph = nullptr;
  std::thread([&] { error = cudaStreamEndCapture(stream_, &graph); }).join();
  EXPECT_EQ(error, cudaErrorStreamCaptureWrongThread);
  expect_fault("did not begin on this thread");
  EXPECT_EQ(cudaGraphExecDestroy(finish()), cudaSuccess);
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorIllegalState);
  expect_fault("not captured");
}

TEST_F(FakeCudaGraphs, EventsForkAndJoinACapture) {
  auto* const fork = make_event();
  auto* const join = make_event();
  begin();
  ASSERT_EQ(set(1, stream_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(fork, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other_, fork, 0), cudaSuccess);
  ASSERT_EQ(set(2, other_, 1), cudaSuccess);
  EXPECT_NE(value(1), 2) << "the other stream is captured too";
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(other_, &graph), cudaErrorStreamCaptureUnmatched);
  expect_fault("did not begin in this stream");
  ASSERT_EQ(cudaEventRecord(join, other_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(stream_, join, 0), cudaSuccess);
  auto* const exec = finish();
  ASSERT_EQ(cudaGraphLaunch(exec, stream_), cudaSuccess);
  EXPECT_EQ(value(0), 1);
  EXPECT_EQ(value(1), 2);
  EXPECT_EQ(cudaStreamWaitEvent(other_, join, 0), cudaErrorCapturedEvent);
  expect_fault("capture is over");
  EXPECT_EQ(cudaEventQuery(join), cudaErrorCapturedEvent);
  expect_fault("recorded in a capture");
  ASSERT_EQ(cudaEventRecord(join, other_), cudaSuccess) << "it may be recorded again";
  EXPECT_EQ(cudaEventQuery(join), cudaSuccess);
  EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
  for (auto* event : {fork, join}) EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(FakeCudaGraphs, AForkMustBeJoined) {
  auto* const fork = make_event();
  begin();
  ASSERT_EQ(cudaEventRecord(fork, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other_, fork, 0), cudaSuccess);
  ASSERT_EQ(set(2, other_), cudaSuccess);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_, &graph), cudaErrorStreamCaptureUnjoined);
  EXPECT_EQ(graph, nullptr);
  expect_fault("not joined");
  EXPECT_EQ(cudaEventDestroy(fork), cudaSuccess);
}

TEST_F(FakeCudaGraphs, ACaptureStaysApart) {
  auto* const event = make_event();
  ASSERT_EQ(cudaEventRecord(event, other_), cudaSuccess);
  begin();
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event, 0), cudaErrorStreamCaptureIsolation);
  expect_fault("for an event outside of it");
  expect_invalid();

  begin();
  ASSERT_EQ(cudaStreamBeginCapture(other_, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, other_), cudaSuccess);
  EXPECT_EQ(cudaStreamWaitEvent(stream_, event, 0), cudaErrorStreamCaptureMerge);
  expect_fault("merge two captures");
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(other_, &graph), cudaErrorStreamCaptureInvalidated);
  expect_invalid();
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(FakeCudaGraphs, ThreadsCaptureAtTheSameTime) {
  std::vector<int> seen(8);
  {
    std::vector<std::jthread> threads;
    threads.reserve(seen.size());
    for (std::size_t index = 0; index < seen.size(); ++index) {
      threads.emplace_back([&, index] {
        cudaStream_t stream = nullptr;
        cudaGraph_t graph = nullptr;
        cudaGraphExec_t exec = nullptr;
        EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
        EXPECT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
        EXPECT_EQ(set(static_cast<int>(index) + 1, stream, index), cudaSuccess);
        EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
        EXPECT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
        EXPECT_EQ(cudaGraphLaunch(exec, stream), cudaSuccess);
        EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
        seen[index] = value(index);
        EXPECT_EQ(cudaGraphExecDestroy(exec), cudaSuccess);
        EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
        EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
      });
    }
  }
  EXPECT_THAT(seen, testing::ElementsAre(1, 2, 3, 4, 5, 6, 7, 8));
}

}  // namespace
}  // namespace standin_test
