// What the parts of the fake CUDA runtime share: what is alive, and how a call ends.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fake_cuda {

struct Capture;
struct Event;
struct Graph;
struct GraphExec;
struct Stream;

enum class Space { kDevice, kPinned };

struct Pool {
  int device;
  std::size_t limit;  // 0: none
  std::size_t used = 0;
  std::uint64_t id = 0;    // among those of allocations
  bool keeps_all = false;  // that is freed, for the next allocation
};

struct Allocation {
  std::size_t size;
  int device;
  Space space;
  std::uint64_t id;            // an address is used again, this is not
  std::shared_ptr<Pool> pool;  // of memory that a stream allocated, else null
  bool ready = true;           // the stream has allocated it
  bool freed = false;          // by cudaFreeAsync, whose stream may not have come to it yet
};

template <class T>
using Handles = std::map<const void*, std::shared_ptr<T>>;

/// All of it is guarded by the one lock, which no work runs under.
struct State {
  std::mutex mutex;
  std::condition_variable progress;  // of any stream
  int devices = 2;
  int capability = 89;
  bool late = false;
  std::map<const std::byte*, Allocation> memory;
  std::uint64_t allocations = 0;  // ever
  Handles<Stream> streams;
  Handles<Event> events;
  Handles<Graph> graphs;
  Handles<GraphExec> execs;
  Handles<Pool> pools;
  std::map<int, std::shared_ptr<Stream>> default_streams;  // by GPU
  std::set<const void*> kept;                              // handles that are no leak
  std::vector<std::shared_ptr<Capture>> captures;          // that have not ended
  std::vector<std::shared_ptr<void>> destroyed;  // kept, so that no new handle gets their address
  std::map<std::string, int> failures;
  std::map<std::string, int> counts;
  std::vector<std::string> faults;
};

[[nodiscard]] State& state();

/// The calling thread's GPU, its last error, and whether a host function runs on it.
extern thread_local int current;
extern thread_local cudaError_t last_error;
extern thread_local bool in_host_function;

/// CUDA starts with a process's first call, and does not survive a fork.
cudaError_t start();

/// Remembers an error as the thread's last one.
cudaError_t result(cudaError_t error);

/// A rule is broken: kept, and the call fails. The caller does not hold the lock.
cudaError_t fault(const std::string& text, cudaError_t error = cudaErrorInvalidValue);

/// Counts a call, and tells whether it is to fail.
bool fails(const std::string& function);

/// Null where there is no such handle, or none any more.
template <class T>
std::shared_ptr<T> find(const Handles<T>& handles, const void* handle) {
  const std::scoped_lock lock(state().mutex);
  const auto found = handles.find(handle);
  return found != handles.end() ? found->second : nullptr;
}

template <class Handle, class T>
Handle open(Handles<T>& handles, const std::shared_ptr<T>& object) {
  const std::scoped_lock lock(state().mutex);
  handles[object.get()] = object;
  return reinterpret_cast<Handle>(object.get());
}

/// @param function the call that ends the object, for the fault where there is none.
template <class T>
cudaError_t close(Handles<T>& handles, const void* handle, const char* function) {
  static_cast<void>(fails(function));
  {
    const std::scoped_lock lock(state().mutex);
    if (auto node = handles.extract(handle)) {
      state().destroyed.push_back(std::move(node.mapped()));
      state().kept.erase(handle);
      return cudaSuccess;
    }
  }
  return fault(std::string(function) + ": no such object, or destroyed before");
}

/// Bytes that a call names. Work keeps it, to see whether they are still the same memory later.
struct Range {
  std::byte* data;
  std::size_t size;
  std::uint64_t allocation = 0;  // 0: pageable memory of the host, which CUDA does not know
  int device = cudaInvalidDeviceId;
  Space space = Space::kPinned;
  bool inside = true;  // of its allocation

  [[nodiscard]] bool pageable() const noexcept { return allocation == 0; }
  [[nodiscard]] bool on_device() const noexcept { return !pageable() && space == Space::kDevice; }
};

[[nodiscard]] Range range_of(const void* address, std::size_t bytes);

/// Whether work that runs now may touch it: a graph's copies too belong to the memory that they
/// were captured with, whatever lies at its address by now.
[[nodiscard]] bool intact(const Range& range);

/// The allocation that holds an address, 0 where there is none, and the bytes from there to its
/// end. What cudaFreeAsync was called for is gone for new work, though not for what waits already.
struct Place {
  std::uint64_t allocation = 0;
  std::size_t room = 0;
};
[[nodiscard]] Place place_of(const void* address, bool for_new_work = true);

/// What tells memory from any other that was at its address: its allocation, or the pool that keeps
/// what is freed, so that a graph may go on to use the address. 0 where there is none.
[[nodiscard]] std::uint64_t mapping_of(const void* address);

/// Bytes from an address to the end of its allocation; 0 where it is no live memory.
[[nodiscard]] inline std::size_t room(const void* address) { return place_of(address).room; }

}  // namespace fake_cuda
