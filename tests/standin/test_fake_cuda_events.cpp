// The events of the fake CUDA runtime, and the order that they give to streams.
#include <cuda_runtime_api.h>

#include <atomic>
#include <thread>
#include <vector>

#include "fake_cuda.h"
#include "fake_cuda_test.h"

namespace standin_test {
namespace {

using testing::HasSubstr;
using FakeCudaEvents = FakeCuda;

TEST_F(FakeCudaEvents, AreReachedInTheirStreamsOrder) {
  fake_cuda::set_late(true);
  auto* const event = make_event();
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess) << "never recorded";
  ASSERT_EQ(set(1, stream_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  ASSERT_EQ(set(2, stream_), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(event), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "not ready is no error";
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  EXPECT_EQ(value(), 1) << "what comes after it may still wait";
  ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  ASSERT_EQ(cudaEventSynchronize(event), cudaSuccess);
  EXPECT_EQ(value(), 2);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(FakeCudaEvents, AStreamWaitsForAnotherOnlyWhereItIsTold) {
  fake_cuda::set_late(true);
  auto* const event = make_event();
  ASSERT_EQ(set(1, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(pinned_, device_, 1, cudaMemcpyDeviceToHost, other_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
  EXPECT_NE(pinned()[0], 1) << "the copy did not wait";

  ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other_, event, cudaEventWaitDefault), cudaSuccess);
  ASSERT_EQ(set(2, stream_), cudaSuccess);
  ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);  // not what the other waits for
  ASSERT_EQ(cudaMemcpyAsync(pinned_, device_, 1, cudaMemcpyDeviceToHost, other_), cudaSuccess);
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);  // what waits goes on waiting
  ASSERT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
  EXPECT_EQ(pinned()[0], 1);
}

TEST_F(FakeCudaEvents, MeasureTime) {
  auto* const start = make_event(cudaEventDefault);
  auto* const end = make_event(cudaEventDefault);
  auto* const untimed = make_event();
  float elapsed = -1;
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, start, end), cudaErrorInvalidResourceHandle);
  expect_fault("never recorded");
  fake_cuda::set_late(true);
  for (auto* event : {start, end, untimed}) {
    ASSERT_EQ(cudaEventRecord(event, stream_), cudaSuccess);
  }
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, start, end), cudaErrorNotReady);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, start, end), cudaSuccess);
  EXPECT_GE(elapsed, 0);
  EXPECT_EQ(cudaEventElapsedTime(&elapsed, start, untimed), cudaErrorInvalidResourceHandle);
  expect_fault("without timing");
  for (auto* event : {start, end, untimed}) EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

TEST_F(FakeCudaEvents, BelongToAGpu) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  auto* const event = make_event();
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  EXPECT_EQ(cudaEventRecord(event, stream_), cudaErrorInvalidResourceHandle);
  expect_fault("an event of another GPU");
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("1 events"));
  EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
  EXPECT_NE(cudaEventDestroy(event), cudaSuccess);
  expect_fault("destroyed before");
  EXPECT_NE(cudaEventQuery(event), cudaSuccess);
  expect_fault("no such event");
}

TEST_F(FakeCudaEvents, ThreadsMayWaitForEachOthersStreams) {
  constexpr int kTurns = 500;
  fake_cuda::set_late(true);
  auto* const first = make_event();
  auto* const second = make_event();
  std::atomic<int> done = 0;
  const auto work = [&](cudaStream_t own, cudaEvent_t mine, cudaEvent_t others) {
    for (int turn = 0; turn < kTurns; ++turn) {
      if (cudaEventRecord(mine, own) == cudaSuccess &&
          cudaStreamWaitEvent(own, others, 0) == cudaSuccess &&
          cudaStreamSynchronize(own) == cudaSuccess) {
        ++done;
      }
    }
  };
  {
    const std::jthread one(work, stream_, first, second);
    const std::jthread two(work, other_, second, first);
  }
  EXPECT_EQ(done, 2 * kTurns);
  for (auto* event : {first, second}) EXPECT_EQ(cudaEventDestroy(event), cudaSuccess);
}

}  // namespace
}  // namespace standin_test
