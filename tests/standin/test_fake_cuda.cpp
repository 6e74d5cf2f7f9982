// The fake of the CUDA runtime itself: it notices what it says that it notices. Here: memory,
// copies and streams.
#include <cuda_runtime_api.h>

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "fake_cuda.h"
#include "fake_cuda_state.h"
#include "fake_cuda_test.h"

namespace standin_test {
namespace {

using testing::HasSubstr;

TEST_F(FakeCuda, LateWorkWaitsForItsStream) {
  fake_cuda::set_late(true);
  pinned()[0] = 7;
  ASSERT_EQ(cudaMemcpyAsync(device_, pinned_, 1, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  EXPECT_NE(value(), 7);
  pinned()[0] = 8;  // too early: the copy reads this
  ASSERT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
  EXPECT_NE(value(), 8);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(value(), 8);
}

TEST_F(FakeCuda, AQueryFindsLateWorkUnfinishedOnce) {
  fake_cuda::set_late(true);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  ASSERT_EQ(set(3, stream_), cudaSuccess);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "not ready is no error";
  EXPECT_NE(value(), 3);
  EXPECT_EQ(cudaStreamQuery(stream_), cudaSuccess);
  EXPECT_EQ(value(), 3);
}

TEST_F(FakeCuda, QueriesMakeProgressWhileWorkIsAdded) {
  fake_cuda::set_late(true);
  for (int turn = 1; turn <= 3; ++turn) {
    ASSERT_EQ(set(turn, stream_), cudaSuccess);
    EXPECT_EQ(cudaStreamQuery(stream_), cudaErrorNotReady);
  }
  EXPECT_EQ(value(), 2);
}

TEST_F(FakeCuda, TheDeviceWaitsForAllItsStreams) {
  fake_cuda::set_late(true);
  ASSERT_EQ(set(3, stream_), cudaSuccess);
  ASSERT_EQ(set(4, other_, 1), cudaSuccess);
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  EXPECT_EQ(value(0), 3);
  EXPECT_EQ(value(1), 4);
}

TEST_F(FakeCuda, AStreamKnowsItsDevice) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  int device = -1;
  EXPECT_EQ(cudaStreamGetDevice(stream, &device), cudaSuccess);
  EXPECT_EQ(device, 1);
  EXPECT_EQ(cudaStreamGetDevice(stream_, &device), cudaSuccess);
  EXPECT_EQ(device, 0);
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(FakeCuda, HostFunctionsRunInOrderAndMustNotCallCuda) {
  fake_cuda::set_late(true);
  ASSERT_EQ(set(5, stream_), cudaSuccess);
  struct Seen {
    const unsigned char* memory = nullptr;
    int value = 0;
    cudaError_t error = cudaSuccess;
  } seen{static_cast<const unsigned char*>(device_)};
  const auto look = [](void* argument) {
    auto* it = static_cast<Seen*>(argument);
    it->value = *it->memory;
    void* memory = nullptr;
    it->error = cudaMalloc(&memory, 1);
  };
  ASSERT_EQ(cudaLaunchHostFunc(stream_, look, &seen), cudaSuccess);
  EXPECT_EQ(seen.value, 0);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(seen.value, 5);
  EXPECT_EQ(seen.error, cudaErrorNotPermitted);
  expect_fault("cudaMalloc: called in a host function");
}

TEST_F(FakeCuda, PageableMemoryIsReadAtOnce) {
  fake_cuda::set_late(true);
  std::vector<unsigned char> pageable = {7};
  ASSERT_EQ(cudaMemcpyAsync(device_, pageable.data(), 1, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  pageable[0] = 8;
  ASSERT_EQ(cudaMemcpyAsync(pageable.data(), device_, 1, cudaMemcpyDeviceToHost, stream_),
            cudaSuccess);
  EXPECT_EQ(pageable[0], 7);
}

TEST_F(FakeCuda, CopiesInsideADeviceAndBetweenRows) {
  auto* const bytes = static_cast<std::byte*>(device_);
  for (std::size_t i = 0; i < 6; ++i) pinned()[i] = static_cast<unsigned char>(i + 1);
  ASSERT_EQ(cudaMemcpyAsync(device_, pinned_, 6, cudaMemcpyDefault, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(bytes + 32, bytes, 6, cudaMemcpyDeviceToDevice, stream_), cudaSuccess);
  EXPECT_EQ(value(37), 6);
  // Two rows of two bytes: 1 2 . 4 5 . becomes 1 2 . . 4 5.
  ASSERT_EQ(cudaMemsetAsync(bytes + 8, 9, 8, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemcpy2DAsync(bytes + 8, 4, pinned_, 3, 2, 2, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  const std::vector<int> want = {1, 2, 9, 9, 4, 5, 9, 9};
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_EQ(value(8 + i), want[i]) << i;
  EXPECT_NE(cudaMemcpy2DAsync(bytes, 1, pinned_, 3, 2, 2, cudaMemcpyDefault, stream_), cudaSuccess);
  expect_fault("wider than their pitch");
  EXPECT_NE(cudaMemcpy2DAsync(bytes, 63, pinned_, 3, 2, 2, cudaMemcpyDefault, stream_),
            cudaSuccess);
  expect_fault("bounds");
}

TEST_F(FakeCuda, NoticesCopiesAndFillsOutOfBounds) {
  EXPECT_EQ(cudaMemcpyAsync(device_, pinned_, 65, cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  expect_fault("cudaMemcpyAsync: out of the memory's bounds");
  EXPECT_EQ(cudaMemsetAsync(device_, 0, 65, stream_), cudaErrorInvalidValue);
  expect_fault("cudaMemsetAsync: out of the memory's bounds");
}

TEST_F(FakeCuda, NoticesACopyOfTheWrongKind) {
  EXPECT_NE(cudaMemcpyAsync(device_, pinned_, 1, cudaMemcpyDeviceToDevice, stream_), cudaSuccess);
  expect_fault("not the memory that its kind says");
}

TEST_F(FakeCuda, NoticesADoubleFreeAndAFreeOfTheOtherKind) {
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 1), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(memory), cudaErrorInvalidValue);
  expect_fault("other kind");
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
  expect_fault("freed before");
}

TEST_F(FakeCuda, PointersTellWhatTheyPointTo) {
  cudaPointerAttributes attributes{};
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, static_cast<std::byte*>(device_) + 8),
            cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeDevice);
  EXPECT_EQ(attributes.device, 0);
  EXPECT_EQ(attributes.hostPointer, nullptr);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, pinned_), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeHost);
  EXPECT_EQ(attributes.hostPointer, pinned_);
  ASSERT_EQ(cudaPointerGetAttributes(&attributes, &attributes), cudaSuccess);
  EXPECT_EQ(attributes.type, cudaMemoryTypeUnregistered);
  EXPECT_EQ(attributes.devicePointer, nullptr);
}

TEST_F(FakeCuda, MemoryComesAndGoesInAStreamsOrder) {
  fake_cuda::set_late(true);
  void* memory = nullptr;
  ASSERT_EQ(cudaMallocAsync(&memory, 8, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(memory, 6, 8, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemcpyAsync(device_, memory, 8, cudaMemcpyDeviceToDevice, stream_), cudaSuccess);
  ASSERT_EQ(cudaFreeAsync(memory, stream_), cudaSuccess);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("8 device bytes"));
  EXPECT_NE(cudaMemsetAsync(memory, 6, 8, stream_), cudaSuccess);
  expect_fault("bounds");
  EXPECT_NE(cudaFreeAsync(memory, stream_), cudaSuccess);
  expect_fault("freed before");
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(value(), 6);
  EXPECT_THAT(fake_cuda::leaks(), testing::Not(HasSubstr("8 device bytes")));
}

TEST_F(FakeCuda, NoticesMemoryThatIsNotThereYetInAnotherStream) {
  fake_cuda::set_late(true);
  void* memory = nullptr;
  ASSERT_EQ(cudaMallocAsync(&memory, 8, stream_), cudaSuccess);
  ASSERT_EQ(cudaMemsetAsync(memory, 6, 8, other_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
  expect_fault("not allocated yet");
  ASSERT_EQ(cudaFreeAsync(memory, other_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(other_), cudaSuccess);
  expect_fault("before the memory was allocated");
  EXPECT_EQ(cudaFreeAsync(memory, stream_), cudaSuccess);
  EXPECT_EQ(cudaFreeAsync(device_, stream_), cudaErrorInvalidValue);
  expect_fault("no stream allocated");
}

TEST_F(FakeCuda, APoolKeepsItsMemoryIfItIsToldTo) {
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  cudaMemPool_t pool = nullptr;
  ASSERT_EQ(cudaMemPoolCreate(&pool, &properties), cudaSuccess);
  void* first = nullptr;
  void* second = nullptr;
  ASSERT_EQ(cudaMallocFromPoolAsync(&first, 10, pool, stream_), cudaSuccess);
  ASSERT_EQ(cudaMallocFromPoolAsync(&second, 10, pool, stream_), cudaSuccess);
  EXPECT_NE(fake_cuda::mapping_of(first), fake_cuda::mapping_of(second));
  std::uint64_t all = std::numeric_limits<std::uint64_t>::max();
  ASSERT_EQ(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all), cudaSuccess);
  EXPECT_EQ(fake_cuda::mapping_of(first), fake_cuda::mapping_of(second));
  EXPECT_NE(fake_cuda::mapping_of(first), fake_cuda::mapping_of(device_));
  ASSERT_EQ(cudaFreeAsync(first, stream_), cudaSuccess);
  ASSERT_EQ(cudaFreeAsync(second, stream_), cudaSuccess);
  EXPECT_EQ(fake_cuda::mapping_of(first), 0U);
  EXPECT_EQ(cudaMemPoolDestroy(pool), cudaSuccess);
}

TEST_F(FakeCuda, TheDefaultStreamIsOneOfEachGpu) {
  fake_cuda::set_late(true);
  ASSERT_EQ(set(5, nullptr), cudaSuccess);
  ASSERT_EQ(set(6, stream_), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(value(), 6) << "streams that do not block, and it, do not wait for each other";
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
  EXPECT_EQ(value(), 6);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
  ASSERT_EQ(cudaStreamSynchronize(cudaStreamLegacy), cudaSuccess) << "its other name";
  EXPECT_EQ(value(), 5);
  EXPECT_NE(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  expect_fault("the default stream cannot be captured");
  EXPECT_NE(cudaStreamDestroy(nullptr), cudaSuccess);
  expect_fault("no such object");
}

TEST_F(FakeCuda, WhatIsKeptIsNoLeak) {
  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("3 streams"));
  auto* const own = std::exchange(stream_, nullptr);
  ASSERT_EQ(cudaStreamDestroy(own), cudaSuccess);
  ASSERT_EQ(cudaStreamDestroy(std::exchange(other_, nullptr)), cudaSuccess);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("1 streams"));
  fake_cuda::keep();
  EXPECT_THAT(fake_cuda::leaks(), testing::Not(HasSubstr("streams")));
  EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
}

TEST_F(FakeCuda, PoolsHaveALimitAndOutliveTheirHandle) {
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.maxSize = 16;
  cudaMemPool_t pool = nullptr;
  ASSERT_EQ(cudaMemPoolCreate(&pool, &properties), cudaSuccess);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("1 memory pools"));
  std::uint64_t threshold = 1024;
  EXPECT_EQ(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold),
            cudaSuccess);
  EXPECT_NE(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemCurrent, &threshold), cudaSuccess);
  expect_fault("cannot be set");
  void* memory = nullptr;
  void* more = nullptr;
  ASSERT_EQ(cudaMallocFromPoolAsync(&memory, 10, pool, stream_), cudaSuccess);
  EXPECT_EQ(cudaMallocFromPoolAsync(&more, 10, pool, stream_), cudaErrorMemoryAllocation);
  static_cast<void>(cudaGetLastError());
  ASSERT_EQ(cudaFreeAsync(memory, stream_), cudaSuccess);
  EXPECT_EQ(cudaMallocFromPoolAsync(&more, 10, pool, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemPoolDestroy(pool), cudaSuccess);
  EXPECT_NE(cudaMallocFromPoolAsync(&memory, 1, pool, stream_), cudaSuccess);
  expect_fault("no such pool");
  EXPECT_EQ(cudaFree(more), cudaSuccess);
}

TEST_F(FakeCuda, NoticesAStreamThatWasDestroyed) {
  cudaStream_t gone = other_;
  ASSERT_EQ(cudaStreamDestroy(other_), cudaSuccess);
  other_ = nullptr;
  EXPECT_NE(cudaStreamSynchronize(gone), cudaSuccess);
  expect_fault("destroyed");
}

TEST_F(FakeCuda, NoticesAnotherGpu) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_NE(cudaStreamSynchronize(stream_), cudaSuccess);
  expect_fault("a stream of another GPU");
  EXPECT_NE(cudaFree(device_), cudaSuccess);
  expect_fault("memory of another GPU");
}

TEST_F(FakeCuda, FailsWhenTold) {
  fake_cuda::fail("allocation", 2);
  void* first = nullptr;
  void* second = nullptr;
  EXPECT_EQ(cudaMalloc(&first, 1), cudaSuccess);
  EXPECT_EQ(cudaMallocAsync(&second, 1, stream_), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("1 device bytes"));
  EXPECT_EQ(cudaFree(first), cudaSuccess);
  EXPECT_EQ(fake_cuda::count("cudaMallocAsync"), 1);
}

}  // namespace
}  // namespace standin_test
