// CUDA does not survive fork(): a child must not call it, not even to free what its parent made.
#pragma once

namespace trtfast::cuda {

/// True in a process that was forked after trtfast was loaded.
[[nodiscard]] bool in_forked_child() noexcept;

/// @throws CudaError in a forked child, where CUDA cannot be used.
void check_not_forked();

}  // namespace trtfast::cuda
