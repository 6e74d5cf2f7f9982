// The fake's copies and fills.
#include <cuda_runtime_api.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fake_cuda_state.h"
#include "fake_cuda_work.h"

using namespace fake_cuda;  // NOLINT(google-build-using-namespace): its own, outside of C's names

namespace {

struct Plane {
  Range range;
  std::size_t pitch;
};

Plane plane(const void* address, std::size_t pitch, std::size_t width, std::size_t height) {
  return {range_of(address, (pitch * (height - 1)) + width), pitch};
}

/// Whether memory is where a kind of copy says that it is.
bool fits(cudaMemcpyKind kind, const Range& to, const Range& from) {
  switch (kind) {
    case cudaMemcpyHostToHost: return !to.on_device() && !from.on_device();
    case cudaMemcpyHostToDevice: return to.on_device() && !from.on_device();
    case cudaMemcpyDeviceToHost: return !to.on_device() && from.on_device();
    case cudaMemcpyDeviceToDevice: return to.on_device() && from.on_device();
    default: return kind == cudaMemcpyDefault;
  }
}

void copy_rows(const Plane& to, const std::byte* from, std::size_t pitch, std::size_t width,
               std::size_t height) {
  for (std::size_t row = 0; row < height; ++row) {
    std::memcpy(to.range.data + (row * to.pitch), from + (row * pitch), width);
  }
}

/// A copy of rows in a stream's order. `from` is read when the copy runs, but for pageable memory.
cudaError_t submit_copy(const std::shared_ptr<Stream>& stream, const Plane& to, const Plane& from,
                        std::size_t width, std::size_t height, const char* function) {
  std::shared_ptr<std::vector<std::byte>> staged;
  if (from.range.pageable()) {
    const std::byte* first = from.range.data;
    staged = std::make_shared<std::vector<std::byte>>(first, first + from.range.size);
  }
  const auto run = [=] {
    if (!intact(to.range) || !intact(from.range)) {
      fault(std::string(function) + ": memory that was freed, or is not allocated yet, as it runs");
      return;
    }
    copy_rows(to, staged ? staged->data() : from.range.data, from.pitch, width, height);
  };
  return submit(stream, Node{run, {}, true});
}

cudaError_t copy(const Plane& to, const Plane& from, std::size_t width, std::size_t height,
                 cudaMemcpyKind kind, const std::shared_ptr<Stream>& stream, const char* function) {
  const std::string name = function;
  if (!to.range.inside || !from.range.inside) return fault(name + ": out of the memory's bounds");
  if (!fits(kind, to.range, from.range)) return fault(name + ": not the memory that its kind says");
  if (to.range.pageable() || from.range.pageable()) {
    if (const auto error = not_in_capture(stream, (name + " of pageable memory").c_str());
        error != cudaSuccess) {
      return error;
    }
  }
  const auto error = submit_copy(stream, to, from, width, height, function);
  if (to.range.pageable()) reach(end_of(stream));  // it is written before the call returns
  return error;
}

}  // namespace

// The runtime's functions. NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaMemcpyAsync"); error != cudaSuccess) return error;
  if (fails("cudaMemcpyAsync")) return result(cudaErrorLaunchFailure);
  if (bytes == 0) return cudaSuccess;
  return copy(plane(to, bytes, bytes, 1), plane(from, bytes, bytes, 1), bytes, 1, kind, stream,
              "cudaMemcpyAsync");
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t height,
                              cudaMemcpyKind kind, cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaMemcpy2DAsync"); error != cudaSuccess) return error;
  if (fails("cudaMemcpy2DAsync")) return result(cudaErrorLaunchFailure);
  if (width > to_pitch || width > from_pitch) {
    return fault("cudaMemcpy2DAsync: rows wider than their pitch");
  }
  if (width == 0 || height == 0) return cudaSuccess;
  return copy(plane(to, to_pitch, width, height), plane(from, from_pitch, width, height), width,
              height, kind, stream, "cudaMemcpy2DAsync");
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t handle) {
  const auto stream = find_stream(handle);
  if (const auto error = usable(stream, "cudaMemsetAsync"); error != cudaSuccess) return error;
  if (fails("cudaMemsetAsync")) return result(cudaErrorLaunchFailure);
  if (bytes == 0) return cudaSuccess;
  const auto range = range_of(memory, bytes);
  if (range.pageable() || !range.inside) {
    return fault("cudaMemsetAsync: out of the memory's bounds");
  }
  return submit(stream, [=] {
    if (!intact(range)) {
      fault("cudaMemsetAsync: memory that was freed, or is not allocated yet, as it runs");
      return;
    }
    std::memset(range.data, value, bytes);
  });
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
