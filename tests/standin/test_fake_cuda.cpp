// The fake of the CUDA runtime itself: it notices what it says that it notices.
#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "fake_cuda.h"
#include "fixture.h"

namespace standin_test {
namespace {

using testing::HasSubstr;

class FakeCuda : public testing::Test {
 protected:
  void SetUp() override {
    fake_cuda::reset();
    ASSERT_EQ(cudaMalloc(&device_, 64), cudaSuccess);
    ASSERT_EQ(cudaMallocHost(&pinned_, 64), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
  }
  void TearDown() override {
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
    if (stream_ != nullptr) static_cast<void>(cudaStreamDestroy(stream_));
    static_cast<void>(cudaFreeHost(pinned_));
    static_cast<void>(cudaFree(device_));
    EXPECT_EQ(fake_cuda::leaks(), "");
    static_cast<void>(cudaGetLastError());
  }

  void* device_ = nullptr;
  void* pinned_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

TEST_F(FakeCuda, LateWorkWaitsForItsStream) {
  fake_cuda::set_late(true);
  auto* value = static_cast<unsigned char*>(pinned_);
  *value = 7;
  ASSERT_EQ(cudaMemcpyAsync(device_, pinned_, 1, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  EXPECT_NE(*static_cast<unsigned char*>(device_), 7);
  *value = 8;  // too early: the copy reads this
  ASSERT_EQ(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_EQ(*static_cast<unsigned char*>(device_), 8);
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

TEST_F(FakeCuda, NoticesCopiesOutOfBounds) {
  EXPECT_EQ(cudaMemcpyAsync(device_, pinned_, 65, cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_THAT(fake_cuda::faults(), HasSubstr("bounds"));
}

TEST_F(FakeCuda, NoticesADoubleFreeAndAFreeOfTheOtherKind) {
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 1), cudaSuccess);
  EXPECT_EQ(cudaFreeHost(memory), cudaErrorInvalidValue);
  EXPECT_THAT(fake_cuda::faults(), HasSubstr("other kind"));
  EXPECT_EQ(cudaFree(memory), cudaSuccess);
  EXPECT_EQ(cudaFree(memory), cudaErrorInvalidValue);
  EXPECT_THAT(fake_cuda::faults(), HasSubstr("freed before"));
}

TEST_F(FakeCuda, NoticesAStreamThatWasDestroyed) {
  cudaStream_t gone = stream_;
  ASSERT_EQ(cudaStreamDestroy(stream_), cudaSuccess);
  stream_ = nullptr;
  EXPECT_NE(cudaStreamSynchronize(gone), cudaSuccess);
  EXPECT_THAT(fake_cuda::faults(), HasSubstr("destroyed"));
}

TEST_F(FakeCuda, NoticesAnotherGpu) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  EXPECT_NE(cudaStreamSynchronize(stream_), cudaSuccess);
  EXPECT_NE(cudaFree(device_), cudaSuccess);
  EXPECT_THAT(fake_cuda::faults(), HasSubstr("of another GPU"));
}

TEST_F(FakeCuda, FailsWhenTold) {
  fake_cuda::fail("allocation", 2);
  void* first = nullptr;
  void* second = nullptr;
  EXPECT_EQ(cudaMalloc(&first, 1), cudaSuccess);
  EXPECT_EQ(cudaMallocHost(&second, 1), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_THAT(fake_cuda::leaks(), HasSubstr("1 device bytes"));
  EXPECT_EQ(cudaFree(first), cudaSuccess);
}

}  // namespace
}  // namespace standin_test
