// What the tests of the fake CUDA runtime share.
#pragma once

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "fake_cuda.h"

namespace standin_test {

class FakeCuda : public testing::Test {
 protected:
  void SetUp() override {
    fake_cuda::reset();
    ASSERT_EQ(cudaMalloc(&device_, 64), cudaSuccess);
    ASSERT_EQ(cudaMallocHost(&pinned_, 64), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithFlags(&other_, cudaStreamNonBlocking), cudaSuccess);
  }

  void TearDown() override {
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
    for (auto* stream : {stream_, other_}) {
      if (stream != nullptr) {
        EXPECT_EQ(cudaStreamDestroy(stream), cudaSuccess);
      }
    }
    static_cast<void>(cudaFreeHost(pinned_));
    static_cast<void>(cudaFree(device_));
    EXPECT_EQ(fake_cuda::faults(), "");
    EXPECT_EQ(fake_cuda::leaks(), "");
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }

  /// A byte of the device's memory, as it is now.
  [[nodiscard]] int value(std::size_t offset = 0) const {
    return static_cast<const unsigned char*>(device_)[offset];
  }
  [[nodiscard]] unsigned char* pinned() const { return static_cast<unsigned char*>(pinned_); }

  [[nodiscard]] cudaError_t set(int value, cudaStream_t stream, std::size_t offset = 0) const {
    return cudaMemsetAsync(static_cast<std::byte*>(device_) + offset, value, 1, stream);
  }

  [[nodiscard]] static cudaEvent_t make_event(unsigned flags = cudaEventDisableTiming) {
    cudaEvent_t event = nullptr;
    EXPECT_EQ(cudaEventCreateWithFlags(&event, flags), cudaSuccess);
    return event;
  }

  /// The rule was noticed; it and the thread's error are forgotten.
  static void expect_fault(const std::string& text) {
    EXPECT_THAT(fake_cuda::faults(), testing::HasSubstr(text));
    fake_cuda::forget_faults();
    static_cast<void>(cudaGetLastError());
  }

  void* device_ = nullptr;
  void* pinned_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaStream_t other_ = nullptr;
};

}  // namespace standin_test
