#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/memory.h"
#include "error.h"
#include "support.h"

namespace trtfast::test {
namespace {

using testing::HasSubstr;

TEST(Device, ListIsEmptyForAReasonOrDescribesGpus) {
  const auto found = cuda::devices();
  if (!has_gpu()) {
    EXPECT_TRUE(found.list.empty());
    EXPECT_NE(found.reason, "");
    return;
  }
  EXPECT_EQ(found.reason, "");
  int index = 0;
  for (const auto& device : found.list) {
    EXPECT_EQ(device.index, index++);
    EXPECT_NE(device.name, "");
    EXPECT_GE(device.compute_capability, 30);
    EXPECT_GT(device.total_memory, std::size_t{1} << 28U);
    EXPECT_GT(device.multiprocessors, 0);
    EXPECT_GT(device.clock_mhz, 100);
    EXPECT_GT(device.memory_clock_mhz, 100);
    EXPECT_GE(device.memory_bus_bits, 64);
  }
}

TEST(Device, RefusesAnIndexThatIsNotThere) {
  for (const int index : {-1, 4096}) {
    EXPECT_THROW(static_cast<void>(cuda::device(index)), UnsupportedDeviceError) << index;
  }
}

TEST(Device, ZeroIsTheFirstGpuOrAnErrorThatSaysWhatToDo) {
  if (has_gpu()) {
    EXPECT_EQ(cuda::device(0).name, cuda::devices().list[0].name);
    return;
  }
  const std::string message =
      message_of<UnsupportedDeviceError>([] { static_cast<void>(cuda::device(0)); });
  EXPECT_THAT(message, HasSubstr(cuda::devices().reason));
  EXPECT_THAT(message, HasSubstr("trtfast doctor"));
}

TEST(Device, FreeMemoryIsKnownWithAGpuOnly) {
  EXPECT_EQ(cuda::free_memory().has_value(), has_gpu());
}

TEST(Device, GuardsNestAndRestore) {
  TRTFAST_NEEDS_GPU();
  int before = -1;
  TRTFAST_CUDA(cudaGetDevice(&before));
  const int last = static_cast<int>(cuda::devices().list.size()) - 1;
  {
    const cuda::DeviceGuard guard(last);
    int now = -1;
    TRTFAST_CUDA(cudaGetDevice(&now));
    EXPECT_EQ(now, last);
  }
  int after = -1;
  TRTFAST_CUDA(cudaGetDevice(&after));
  EXPECT_EQ(after, before);
}

TEST(Device, ReleaseNeverThrows) {
  EXPECT_NO_THROW(cuda::release_on(4096, [] { FAIL() << "there is no such GPU"; }));
  TRTFAST_NEEDS_GPU();
  bool released = false;
  cuda::release_on(0, [&] {
    released = true;
    throw CudaError("thrown while releasing");
  });
  EXPECT_TRUE(released);
}

TEST(Check, TellsTheCallTheErrorAndThePlace) {
  const int line = __LINE__ + 1;
  const std::string message = message_of<CudaError>([] { TRTFAST_CUDA(cudaErrorInvalidValue); });
  EXPECT_EQ(message,
            "cudaErrorInvalidValue failed with cudaErrorInvalidValue, invalid argument "
            "(test_device.cpp:" +
                std::to_string(line) + ")");
}

TEST(Memory, EmptyBuffersOwnNothing) {
  cuda::DeviceBuffer buffer;
  buffer.reserve(0);
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(buffer.size(), 0U);
}

TEST(Memory, WithoutAGpuTheErrorIsCudas) {
  if (has_gpu()) GTEST_SKIP() << "there is a GPU";
  cuda::DeviceBuffer buffer;
  EXPECT_THAT(message_of<CudaError>([&] { buffer.reserve(16); }), HasSubstr("cudaMalloc"));
  EXPECT_EQ(buffer.size(), 0U);
}

TEST(Memory, BuffersOnlyGrow) {
  TRTFAST_NEEDS_GPU();
  cuda::DeviceBuffer buffer;
  buffer.reserve(1024);
  const std::byte* first = buffer.data();
  ASSERT_NE(first, nullptr);
  buffer.reserve(16);
  EXPECT_EQ(buffer.data(), first);
  EXPECT_EQ(buffer.size(), 1024U);
  buffer.reserve(std::size_t{1} << 22U);
  EXPECT_EQ(buffer.size(), std::size_t{1} << 22U);
  const cuda::DeviceBuffer moved(std::move(buffer));
  EXPECT_EQ(moved.size(), std::size_t{1} << 22U);
}

TEST(Memory, OutOfMemoryTellsWhatWasAskedAndLeavesTheBufferUsable) {
  TRTFAST_NEEDS_GPU();
  constexpr std::size_t kTooMuch = std::size_t{1} << 46U;
  cuda::DeviceBuffer buffer;
  try {
    buffer.reserve(kTooMuch);
    FAIL() << "nothing was thrown";
  } catch (const OutOfMemoryError& error) {
    EXPECT_EQ(error.requested(), kTooMuch);
    ASSERT_TRUE(error.free().has_value());
    EXPECT_LT(*error.free(), kTooMuch);
  }
  buffer.reserve(64);
  EXPECT_EQ(buffer.size(), 64U);
}

}  // namespace
}  // namespace trtfast::test
