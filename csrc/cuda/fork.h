// CUDA does not survive fork(): a child whose parent had used it must not call it, not even to free
// what its parent made. A child of a parent that had not may use it like any process.
#pragma once

namespace trtfast::cuda {

/// Notes that this process has used CUDA, which a child that it forks from now on cannot.
void note_use() noexcept;

/// How many forks lie between the process that loaded this library and this one. Unlike a process's
/// number it is no system call.
[[nodiscard]] unsigned forks() noexcept;

/// True in a process that was forked after this library had used CUDA.
[[nodiscard]] bool in_stale_child() noexcept;

/// What a forked child that cannot use CUDA is told.
inline constexpr const char* kForkAdvice =
    "this process was forked from one that had used the GPU, and CUDA does not survive a fork: "
    "fork before the first use of the GPU, or start the process with the method 'spawn' or "
    "'forkserver', and load the engine there";

/// @throws CudaError in a stale child.
void check_not_stale();

}  // namespace trtfast::cuda
