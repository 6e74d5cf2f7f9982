#include "fake_cuda_state.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iterator>
#include <utility>

#include "fake_cuda.h"

namespace fake_cuda {

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): as CUDA keeps them
thread_local int current = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local bool in_host_function = false;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

State& state() {
  static auto* state = new State;  // leaked: the core may free memory while the process exits
  return *state;
}

cudaError_t start() {
  static std::atomic<pid_t> owner = 0;
  pid_t found = 0;
  const pid_t self = getpid();
  const bool alive = owner.compare_exchange_strong(found, self) || found == self;
  return alive ? cudaSuccess : result(cudaErrorInitializationError);
}

cudaError_t result(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t fault(const std::string& text, cudaError_t error) {
  const std::scoped_lock lock(state().mutex);
  state().faults.push_back(text);
  return result(error);
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

Place place_of(const void* address, bool for_new_work) {
  const std::scoped_lock lock(state().mutex);
  const auto found = find_allocation(address);
  if (found == state().memory.end()) return {};
  const auto& [start, allocation] = *found;
  if (for_new_work ? allocation.freed : !allocation.ready) return {};
  const auto offset = static_cast<const std::byte*>(address) - start;
  return {allocation.id, allocation.size - static_cast<std::size_t>(offset)};
}

std::uint64_t mapping_of(const void* address) {
  const std::scoped_lock lock(state().mutex);
  const auto found = find_allocation(address);
  if (found == state().memory.end()) return 0;
  const auto& allocation = found->second;
  const bool kept = allocation.pool != nullptr && allocation.pool->keeps_all;
  return kept ? allocation.pool->id : allocation.id;
}

Range range_of(const void* address, std::size_t bytes) {
  auto* data = const_cast<std::byte*>(static_cast<const std::byte*>(address));
  const std::scoped_lock lock(state().mutex);
  const auto found = find_allocation(address);
  if (found == state().memory.end()) return {data, bytes};
  const auto& [start, allocation] = *found;
  const bool inside =
      !allocation.freed && std::cmp_less_equal(bytes, start + allocation.size - data);
  return {data, bytes, allocation.id, allocation.device, allocation.space, inside};
}

bool intact(const Range& range) {
  return range.pageable() || place_of(range.data, false).allocation == range.allocation;
}

void reset() {
  current = 0;
  last_error = cudaSuccess;
  std::vector<std::shared_ptr<void>> destroyed;  // ends without the lock
  const std::scoped_lock lock(state().mutex);
  state().devices = 2;
  state().capability = 89;
  state().late = false;
  state().failures.clear();
  state().counts.clear();
  state().faults.clear();
  destroyed.swap(state().destroyed);
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

void keep() {
  const std::scoped_lock lock(state().mutex);
  const auto add = [](const auto& handles) {
    for (const auto& [handle, object] : handles) state().kept.insert(handle);
  };
  add(state().streams);
  add(state().events);
  add(state().pools);
}

std::string leaks() {
  const std::scoped_lock lock(state().mutex);
  std::string text;
  for (const auto& [data, allocation] : state().memory) {
    text += std::to_string(allocation.size) +
            (allocation.space == Space::kDevice ? " device bytes\n" : " pinned bytes\n");
  }
  const auto add = [&text](const auto& handles, const char* what) {
    const auto open = std::ranges::count_if(
        handles, [](const auto& entry) { return !state().kept.contains(entry.first); });
    if (open > 0) text += std::to_string(open) + " " + what + "\n";
  };
  add(state().streams, "streams");
  add(state().events, "events");
  add(state().graphs, "graphs");
  add(state().execs, "executable graphs");
  add(state().pools, "memory pools");
  return text;
}

std::string faults() {
  const std::scoped_lock lock(state().mutex);
  std::string text;
  for (const auto& line : state().faults) text += line + "\n";
  return text;
}

void forget_faults() {
  const std::scoped_lock lock(state().mutex);
  state().faults.clear();
}

}  // namespace fake_cuda
