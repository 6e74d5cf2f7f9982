// How threads wait that do not sleep.
#pragma once

#include <chrono>
#include <thread>

namespace trtfast {

/// How long a thread looks for more to do before it sleeps: to wake it takes as long as a copy, or
/// as a small batch.
constexpr std::chrono::milliseconds kAwake{2};

/// Whether there are cores enough for a thread that only looks.
inline bool may_spin() noexcept { return std::thread::hardware_concurrency() > 2; }

/// Lets a thread that looks again and again take less of its core.
inline void pause() noexcept {
#ifdef __x86_64__
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace trtfast
