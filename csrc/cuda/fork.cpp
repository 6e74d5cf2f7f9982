#include "cuda/fork.h"

#include <pthread.h>

#include <atomic>

#include "error.h"

namespace trtfast::cuda {
namespace {

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): facts of the process
std::atomic<bool> used = false;
std::atomic<unsigned> forked = 0;
std::atomic<bool> stale = false;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): registers as the module loads
const int registered = pthread_atfork(nullptr, nullptr, [] {
  ++forked;
  if (used) stale = true;
});

}  // namespace

void note_use() noexcept {
  // Each call of an engine comes here, and a store would take the line from the other threads.
  if (!used.load(std::memory_order_relaxed)) used.store(true, std::memory_order_relaxed);
}

unsigned forks() noexcept {
  static_cast<void>(registered);
  return forked.load(std::memory_order_relaxed);
}

bool in_stale_child() noexcept { return stale.load(std::memory_order_relaxed); }

void check_not_stale() {
  if (in_stale_child()) throw CudaError(kForkAdvice);
}

}  // namespace trtfast::cuda
