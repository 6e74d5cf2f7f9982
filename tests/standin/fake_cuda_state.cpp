#include "fake_cuda_state.h"

#include <cstring>
#include <iterator>
#include <utility>

#include "fake_cuda.h"

namespace fake_cuda {

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): as CUDA keeps them
thread_local int current = 0;
thread_local cudaError_t last_error = cudaSuccess;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

State& state() {
  static auto* state = new State;  // leaked: the core may free memory while the process exits
  return *state;
}

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t fault(const std::string& text) {
  const std::scoped_lock lock(state().mutex);
  state().faults.push_back(text);
  return result(cudaErrorInvalidValue);
}

bool fails(const std::string& function) {
  const std::scoped_lock lock(state().mutex);
  ++state().counts[function];
  int& left = state().failures[function];
  if (left == 0) return false;
  --left;
  return left == 0;
}

namespace {

// The allocation that holds an address, or the end of the map. The caller holds the lock.
auto find_allocation(const void* address) {
  auto& memory = state().memory;
  const auto* byte = static_cast<const std::byte*>(address);
  const auto after = memory.upper_bound(byte);
  if (after == memory.begin()) return memory.end();
  const auto found = std::prev(after);
  return byte < found->first + found->second.size ? found : memory.end();
}

}  // namespace

std::size_t room(const void* address) noexcept {
  const std::scoped_lock lock(state().mutex);
  const auto found = find_allocation(address);
  if (found == state().memory.end()) return 0;
  return found->second.size -
         static_cast<std::size_t>(static_cast<const std::byte*>(address) - found->first);
}

std::shared_ptr<Stream> find_stream(const void* handle) {
  const std::scoped_lock lock(state().mutex);
  const auto found = state().streams.find(handle);
  return found != state().streams.end() ? found->second : nullptr;
}

void drain(Stream& stream) {
  const std::scoped_lock lock(stream.mutex);
  while (!stream.queue.empty()) {
    stream.queue.front()();
    stream.queue.pop_front();
  }
}

// Freeing memory waits for all work of its GPU, as CUDA does.
void drain_device(int device) {
  std::vector<std::shared_ptr<Stream>> streams;
  {
    const std::scoped_lock lock(state().mutex);
    for (const auto& [handle, stream] : state().streams) {
      if (stream->device == device) streams.push_back(stream);
    }
  }
  for (const auto& stream : streams) drain(*stream);
}

void submit(Stream& stream, std::function<void()> work) {
  bool late = false;
  {
    const std::scoped_lock lock(state().mutex);
    late = state().late;
  }
  {
    const std::scoped_lock lock(stream.mutex);
    stream.queue.push_back(std::move(work));
  }
  if (!late) drain(stream);
}

void copy_now(void* to, const void* from, std::size_t bytes, bool check_to, bool check_from) {
  if ((check_to && room(to) < bytes) || (check_from && room(from) < bytes)) {
    fault("cudaMemcpyAsync: out of bounds, or freed before the copy ran");
    return;
  }
  std::memcpy(to, from, bytes);
}

cudaError_t usable(const std::shared_ptr<Stream>& stream, const char* function) {
  if (stream == nullptr) return fault(std::string(function) + ": no such stream, or destroyed");
  if (stream->device == current) return cudaSuccess;
  return fault(std::string(function) + ": a stream of another GPU than the current one");
}

void reset() {
  current = 0;
  last_error = cudaSuccess;
  const std::scoped_lock lock(state().mutex);
  state().devices = 2;
  state().capability = 89;
  state().late = false;
  state().failures.clear();
  state().counts.clear();
  state().faults.clear();
  state().destroyed.clear();
}

void set_devices(int count, int compute_capability) {
  const std::scoped_lock lock(state().mutex);
  state().devices = count;
  state().capability = compute_capability;
}

void set_late(bool late) {
  const std::scoped_lock lock(state().mutex);
  state().late = late;
}

void fail(const std::string& function, int nth) {
  const std::scoped_lock lock(state().mutex);
  state().failures[function] = nth;
}

int count(const std::string& function) {
  const std::scoped_lock lock(state().mutex);
  return state().counts[function];
}

std::string leaks() {
  const std::scoped_lock lock(state().mutex);
  std::string text;
  for (const auto& [data, allocation] : state().memory) {
    text += std::to_string(allocation.size) +
            (allocation.space == Space::kDevice ? " device bytes\n" : " pinned bytes\n");
  }
  if (const auto open = state().streams.size(); open > 0) text += std::to_string(open) + " streams";
  return text;
}

std::string faults() {
  const std::scoped_lock lock(state().mutex);
  std::string text;
  for (const auto& line : state().faults) text += line + "\n";
  return text;
}

}  // namespace fake_cuda
