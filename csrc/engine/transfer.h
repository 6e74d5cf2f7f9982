// Copies between callers' pageable memory and page-locked memory: in chunks, so that the GPU
// fetches one while the next is copied, and by several threads where there is much to copy.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <span>
#include <string>

#include "cuda/event.h"
#include "engine/tensor.h"

namespace trtfast {

/// Copies to the device through page-locked memory, which may be used anew once the stream has done
/// what was submitted here.
/// @param wait whether the threads that help stay awake for a moment, for the next copy.
void send(std::byte* device, std::byte* pinned, const std::byte* source, std::size_t bytes,
          cudaStream_t stream, cuda::Wait wait);

/// The same for a whole buffer, from several sources.
/// @param pieces in the order of their places. What lies between them is sent as `pinned` has it.
/// @param bytes of the buffer.
void send(std::byte* device, std::byte* pinned, std::span<const Piece> pieces, std::size_t bytes,
          cudaStream_t stream, cuda::Wait wait);

/// Copies on the host.
void copy(std::byte* to, const std::byte* from, std::size_t bytes, cuda::Wait wait);

/// Copies an output of a batch to those who share it.
/// @param name the output's.
/// @throws InputError if it has not just the rows that they share.
void deal(std::span<const Share> shares, const std::string& name, const std::byte* from,
          const Shape& shape, DataType dtype, cuda::Wait wait);

}  // namespace trtfast
