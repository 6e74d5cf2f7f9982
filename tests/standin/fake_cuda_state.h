// What the parts of the fake CUDA runtime share.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace fake_cuda {

enum class Space { kDevice, kPinned };

struct Allocation {
  std::size_t size;
  int device;
  Space space;
};

/// Work waits in its stream's queue, behind the stream's own lock: it may be that of any thread.
struct Stream {
  int device;
  std::mutex mutex;
  std::deque<std::function<void()>> queue;
};

struct State {
  std::mutex mutex;
  int devices = 2;
  int capability = 89;
  bool late = false;
  std::map<const std::byte*, Allocation> memory;
  std::map<const void*, std::shared_ptr<Stream>> streams;
  std::vector<std::shared_ptr<Stream>> destroyed;  // kept, so that no new stream gets their address
  std::map<std::string, int> failures;
  std::map<std::string, int> counts;
  std::vector<std::string> faults;
};

[[nodiscard]] State& state();

/// The calling thread's GPU, and its last error.
extern thread_local int current;
extern thread_local cudaError_t last_error;

/// Remembers an error as the thread's last one.
cudaError_t result(cudaError_t error);

/// A rule is broken: kept, and the call fails.
cudaError_t fault(const std::string& text);

/// Counts a call, and tells whether it is to fail.
bool fails(const std::string& function);

/// Bytes from an address to the end of its allocation; 0 where it is no live memory.
[[nodiscard]] std::size_t room(const void* address) noexcept;

/// Null where there is no such stream, or none any more.
[[nodiscard]] std::shared_ptr<Stream> find_stream(const void* handle);

/// An error where a call cannot use this stream now.
cudaError_t usable(const std::shared_ptr<Stream>& stream, const char* function);

void submit(Stream& stream, std::function<void()> work);

/// Runs all that waits.
void drain(Stream& stream);
void drain_device(int device);

/// Checks and copies; run late, the memory may be gone by then.
void copy_now(void* to, const void* from, std::size_t bytes, bool check_to, bool check_from);

}  // namespace fake_cuda
