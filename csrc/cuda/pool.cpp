#include "cuda/pool.h"

#include <cstdint>
#include <limits>
#include <map>
#include <mutex>

#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/memory.h"

namespace trtfast::cuda {
namespace {

/// The pool of a GPU, for life: arrays that a caller keeps outlive every engine.
cudaMemPool_t pool_of(int device) {
  static std::mutex mutex;
  static auto* pools = new std::map<int, cudaMemPool_t>;
  const std::scoped_lock lock(mutex);
  if (const auto found = pools->find(device); found != pools->end()) return found->second;
  cudaMemPoolProps properties{};
  properties.allocType = cudaMemAllocationTypePinned;
  properties.location.type = cudaMemLocationTypeDevice;
  properties.location.id = device;
  cudaMemPool_t pool = nullptr;
  TRTFAST_CUDA(cudaMemPoolCreate(&pool, &properties));
  std::uint64_t keep_all = std::numeric_limits<std::uint64_t>::max();
  TRTFAST_CUDA(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all));
  return pools->emplace(device, pool).first->second;
}

}  // namespace

PooledMemory::PooledMemory(int device, std::size_t bytes, cudaStream_t stream) : device_(device) {
  if (bytes == 0) return;
  void* memory = nullptr;
  const cudaError_t error = cudaMallocFromPoolAsync(&memory, bytes, pool_of(device), stream);
  if (error == cudaErrorMemoryAllocation) throw_out_of_device_memory(bytes);
  check(error, "cudaMallocFromPoolAsync");
  data_ = static_cast<std::byte*>(memory);
  size_ = bytes;
}

PooledMemory::~PooledMemory() {
  if (data_ == nullptr) return;
  release_on(device_, [this] {
    static_cast<void>(cudaFreeAsync(data_, last_user_));
    static_cast<void>(cudaGetLastError());
  });
}

}  // namespace trtfast::cuda
