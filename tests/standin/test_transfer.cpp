// Copies to and from page-locked memory, in chunks and by several threads (fake_machine.cpp).
#include "engine/transfer.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/memory.h"
#include "cuda/stream.h"
#include "error.h"
#include "fake_cuda.h"
#include "fake_cuda_test.h"

namespace standin_test {
namespace {

using trtfast::CudaError;
using trtfast::cuda::DeviceBuffer;
using trtfast::cuda::PinnedBuffer;
using trtfast::cuda::Stream;
using trtfast::cuda::Wait;
using Bytes = std::vector<std::byte>;

constexpr std::size_t kKiB = 1024;
constexpr std::size_t kMiB = 1024 * kKiB;
constexpr std::size_t kSizes[] = {0,
                                  1,
                                  4097,
                                  (128 * kKiB) - 1,
                                  128 * kKiB,
                                  (128 * kKiB) + 1,
                                  (256 * kKiB) - 1,
                                  256 * kKiB,
                                  (256 * kKiB) + 1,
                                  (384 * kKiB) + 13,
                                  (2 * kMiB) - 1,
                                  2 * kMiB,
                                  (2 * kMiB) + 1,
                                  (3 * kMiB) - 5,
                                  8 * kMiB,
                                  (9 * kMiB) + 4099};

Bytes random_bytes(std::size_t count, unsigned seed) {
  std::mt19937_64 random(seed);
  Bytes bytes(count);
  for (std::size_t at = 0; at < count; at += sizeof(std::uint64_t)) {
    const std::uint64_t next = random();
    std::memcpy(&bytes[at], &next, std::min(sizeof next, count - at));
  }
  return bytes;
}

class Transfers : public FakeCuda {
 protected:
  /// Sends through memory of just the size, so that a byte more is seen by the sanitizers.
  static bool sends_right(const Bytes& source, Wait wait) {
    const Stream stream;
    DeviceBuffer device;
    device.reserve(source.size());
    auto pinned = std::make_unique<PinnedBuffer>();
    pinned->reserve(source.size());
    trtfast::send(device.data(), pinned->data(), source.data(), source.size(), stream.get(), wait);
    stream.synchronize();
    pinned.reset();
    return std::equal(source.begin(), source.end(), device.data());
  }

  static bool copies_right(const Bytes& source, Wait wait) {
    Bytes target(source.size());
    trtfast::copy(target.data(), source.data(), source.size(), wait);
    return target == source;
  }
};

TEST_F(Transfers, BytesOfAnyNumberArrive) {
  for (const bool late : {false, true}) {
    fake_cuda::set_late(late);
    for (const Wait wait : {Wait::kSpin, Wait::kBlock}) {
      unsigned seed = 0;
      for (const std::size_t size : kSizes) {
        const Bytes source = random_bytes(size, ++seed);
        EXPECT_TRUE(sends_right(source, wait)) << size;
        EXPECT_TRUE(copies_right(source, wait)) << size;
      }
    }
  }
}

TEST_F(Transfers, SmallOnesAreOneTransferAndLargeOnesFew) {
  const auto transfers = [](std::size_t size) {
    const int before = fake_cuda::count("cudaMemcpyAsync");
    EXPECT_TRUE(sends_right(Bytes(size, std::byte{7}), Wait::kBlock));
    return fake_cuda::count("cudaMemcpyAsync") - before;
  };
  EXPECT_EQ(transfers(0), 0);
  EXPECT_EQ(transfers(1), 1);
  EXPECT_EQ(transfers(128 * kKiB), 1);
  const int large = transfers(8 * kMiB);
  EXPECT_GE(large, 1);
  EXPECT_LE(large, 32) << "none is smaller than a chunk";
}

TEST_F(Transfers, ManyThreadsMaySendAndCopyAtOnce) {
  constexpr unsigned kThreads = 5;
  constexpr int kTurns = 6;
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  threads.reserve(kThreads);
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      const Wait wait = thread % 2 == 0 ? Wait::kSpin : Wait::kBlock;
      const Bytes source = random_bytes(kMiB + (std::size_t{thread} * 100'001), thread);
      for (int turn = 0; turn < kTurns; ++turn) {
        if (sends_right(source, wait) && copies_right(source, wait)) ++right;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(right, static_cast<int>(kThreads) * kTurns);
}

// The memory is freed at once: a helper that still wrote to it would be seen by the sanitizers.
TEST_F(Transfers, AFailureLeavesNobodyWriting) {
  for (const Wait wait : {Wait::kSpin, Wait::kBlock}) {
    for (int turn = 0; turn < 20; ++turn) {
      const Stream stream;
      DeviceBuffer device;
      auto source = std::make_unique<Bytes>(4 * kMiB, std::byte{5});
      device.reserve(source->size());
      auto pinned = std::make_unique<Bytes>(source->size());
      fake_cuda::set_late(true);  // else the fake would read what is pageable here
      fake_cuda::fail("cudaMemcpyAsync", 1 + (turn % 2));
      try {
        trtfast::send(device.data(), pinned->data(), source->data(), source->size(), stream.get(),
                      wait);
        fake_cuda::fail("cudaMemcpyAsync", 0);  // it got by with fewer
      } catch (const CudaError& error) {
        EXPECT_THAT(error.what(), testing::HasSubstr("cudaMemcpyAsync"));
      }
      pinned.reset();
      source.reset();
    }
  }
  const Bytes source = random_bytes(4 * kMiB, 1);
  EXPECT_TRUE(sends_right(source, Wait::kSpin)) << "the helpers help again";
}

}  // namespace
}  // namespace standin_test
