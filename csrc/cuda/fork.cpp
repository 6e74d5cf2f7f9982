#include "cuda/fork.h"

#include <pthread.h>

#include <atomic>

#include "error.h"

namespace trtfast::cuda {
namespace {

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): a fact of the process
std::atomic<bool> forked = false;

// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables): registers as the module loads
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });

}  // namespace

bool in_forked_child() noexcept {
  static_cast<void>(registered);
  return forked.load(std::memory_order_relaxed);
}

void check_not_forked() {
  if (!in_forked_child()) return;
  throw CudaError(
      "this process was forked from one that had loaded trtfast, and CUDA does not survive a fork: "
      "load the engine in the child, with the start method 'spawn' or 'forkserver'");
}

}  // namespace trtfast::cuda
