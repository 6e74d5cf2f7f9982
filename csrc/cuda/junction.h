// Where the work of several producers' streams comes together, for a run that waits for all of it.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "cuda/device.h"
#include "cuda/event.h"
#include "cuda/stream.h"

namespace trtfast::cuda {

class Junction {
 public:
  /// @param device the current GPU.
  explicit Junction(int device) : device_(device) {}

  /// One of a GPU that nobody uses, made if need be. It goes back when the pointer ends, and none
  /// is ever destroyed: in steady state nothing is created.
  static std::shared_ptr<Junction> of(int device) {
    auto& spare = spares();
    std::unique_ptr<Junction> junction;
    {
      const std::scoped_lock lock(spare.mutex);
      if (auto& free = spare.free[device]; !free.empty()) {
        junction = std::move(free.back());
        free.pop_back();
      }
    }
    if (junction == nullptr) {
      const DeviceGuard guard(device);
      junction = std::make_unique<Junction>(device);
    }
    return {junction.release(), [device](Junction* back) {
              auto& kept = spares();
              const std::scoped_lock lock(kept.mutex);
              kept.free[device].emplace_back(back);
            }};
  }

  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_.get(); }

  /// Adds what a stream does so far. The legacy stream is that of the current GPU.
  void add(cudaStream_t producer) const {
    event_.record(producer);
    event_.hold(stream_.get());
  }

  /// The moment when all that was added has happened.
  [[nodiscard]] const Event& ready() const {
    const DeviceGuard guard(device_);
    event_.record(stream_.get());
    return event_;
  }

 private:
  struct Spares {
    std::mutex mutex;
    std::map<int, std::vector<std::unique_ptr<Junction>>> free;
  };
  static Spares& spares() {
    static auto* spares = new Spares;  // leaked: CUDA may be gone when statics are destroyed
    return *spares;
  }

  int device_;
  Stream stream_;
  Event event_;
};

}  // namespace trtfast::cuda
