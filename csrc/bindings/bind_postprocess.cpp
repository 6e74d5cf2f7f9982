// What comes after a classifier, on the GPU that has its logits.
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "bindings/arrays.h"
#include "cuda/check.h"
#include "cuda/device.h"
#include "cuda/junction.h"
#include "error.h"
#include "kernels/classify.h"

namespace trtfast::bindings {
namespace {

using Handle = std::shared_ptr<DeviceArray>;
using Floats = py::array_t<float>;
using Indices = py::array_t<std::int32_t>;
using Mapped = std::pair<Handle, std::optional<Floats>>;

std::int64_t count_of(const Tensor& tensor) {
  if (!kernels::can_classify(tensor.dtype)) {
    throw InputError(
        std::string("logits are ") + tensorrt::numpy_name(tensor.dtype) +
        "; expected float16, bfloat16 or float32 on the GPU: convert x.copy_to_host()");
  }
  return static_cast<std::int64_t>(byte_size(tensor.shape, tensor.dtype) /
                                   tensorrt::item_size(tensor.dtype));
}

/// The last axis is that of the classes.
kernels::Logits logits_of(const Tensor& tensor) {
  const std::int64_t count = count_of(tensor);
  if (tensor.shape.empty() || tensor.shape.back() == 0) {
    throw InputError("logits have shape " + str(tensor.shape) +
                     "; expected at least one value along the last axis");
  }
  const std::int64_t classes = tensor.shape.back();
  return {tensor.device.data(), tensor.dtype, count / classes, classes};
}

/// Work on an array: after all that fills it, and on its GPU. Lives and ends without the GIL.
class Work {
 public:
  explicit Work(DeviceArray& array)
      : memory_(&array.tensor().device),
        guard_(memory_->device()),
        junction_(cuda::Junction::of(memory_->device())),
        stream_(array.stream().value_or(junction_->stream())) {
    // The array is filled, and what was done with it since on the default stream counts as well, as
    // it does for copy_to_host().
    if (!array.stream()) junction_->add(nullptr);
  }

  [[nodiscard]] cudaStream_t stream() const noexcept { return stream_; }

  /// Memory that is freed in the order of this work.
  [[nodiscard]] cuda::PooledMemory allocate(std::size_t bytes) const {
    cuda::PooledMemory memory(memory_->device(), bytes, stream_);
    memory.set_last_user(stream_);
    return memory;
  }

  void copy_to_host(void* target, const cuda::PooledMemory& source) const {
    if (source.size() == 0) return;
    TRTFAST_CUDA(
        cudaMemcpyAsync(target, source.data(), source.size(), cudaMemcpyDeviceToHost, stream_));
  }

  void wait() const { TRTFAST_CUDA(cudaStreamSynchronize(stream_)); }

  /// Ends work that is not waited for: what frees the array's memory has to.
  void leave() const {
    if (memory_->last_user() == stream_) return;
    junction_->add(stream_);
    junction_->ready().hold(memory_->last_user());
  }

 private:
  const cuda::PooledMemory* memory_;
  cuda::DeviceGuard guard_;
  std::shared_ptr<cuda::Junction> junction_;
  cudaStream_t stream_;
};

/// A new array of the values of another, and the logits' peaks where the call waits.
/// @param kernel (output, peaks, stream), called without the GIL.
template <class Kernel>
Mapped map(DeviceArray& array, DataType dtype, std::int64_t pieces, const Kernel& kernel) {
  Tensor result{nullptr, array.tensor().shape, dtype};
  const bool waits = !array.stream();
  Floats peaks(waits ? pieces : 0);
  float* const target = peaks.mutable_data();
  {
    const ReleasedGil released;
    const Work work(array);
    auto output = work.allocate(byte_size(result.shape, dtype));
    const auto found = work.allocate(static_cast<std::size_t>(pieces) * sizeof(float));
    kernel(output.data(), reinterpret_cast<float*>(found.data()), work.stream());
    if (waits) {
      work.copy_to_host(target, found);
      work.wait();
      output.set_last_user(nullptr);
    } else {
      work.leave();
    }
    result.device = std::move(output);
  }
  std::optional<Floats> told;
  if (waits) told = std::move(peaks);
  auto made = make_released<DeviceArray>(std::move(result), array.stream());
  made->owners().add(array.owners());
  return {std::move(made), std::move(told)};
}

Mapped softmax(DeviceArray& array) {
  const kernels::Logits logits = logits_of(array.tensor());
  return map(array, DataType::kFloat, logits.rows,
             [&](std::byte* output, float* peaks, cudaStream_t stream) {
               kernels::softmax(logits, reinterpret_cast<float*>(output), peaks, stream);
             });
}

Mapped sigmoid(DeviceArray& array, const std::optional<float>& threshold) {
  const Tensor& tensor = array.tensor();
  const std::int64_t count = count_of(tensor);
  return map(array, threshold ? DataType::kBool : DataType::kFloat, kernels::pieces_of(count),
             [&](std::byte* output, float* peaks, cudaStream_t stream) {
               kernels::sigmoid(tensor.device.data(), tensor.dtype, count, threshold, output, peaks,
                                stream);
             });
}

/// (indices, confidences, peaks), in one block of memory so that one copy brings them.
std::tuple<Indices, Floats, Floats> top_k(DeviceArray& array, std::int64_t k) {
  const kernels::Logits logits = logits_of(array.tensor());
  if (k < 1 || k > logits.classes) {
    throw InputError("k is " + std::to_string(k) + ", of " + std::to_string(logits.classes) +
                     " classes");
  }
  if (logits.classes > std::numeric_limits<std::int32_t>::max()) {
    throw InputError("logits have " + std::to_string(logits.classes) + " classes: too many");
  }
  const std::int64_t places = logits.rows * k;
  const std::int64_t entries = (2 * places) + logits.rows;
  Floats block(entries);
  float* const target = block.mutable_data();
  static_assert(sizeof(float) == sizeof(std::int32_t));
  {
    const ReleasedGil released;
    const Work work(array);
    const auto found = work.allocate(static_cast<std::size_t>(entries) * sizeof(float));
    auto* const confidences = reinterpret_cast<float*>(found.data());
    float* const peaks = confidences + places;
    auto* const indices = reinterpret_cast<std::int32_t*>(peaks + logits.rows);
    kernels::top_k(logits, k, indices, confidences, peaks, work.stream());
    work.copy_to_host(target, found);
    work.wait();
  }
  auto* const indices = reinterpret_cast<std::int32_t*>(target + places + logits.rows);
  return {Indices({logits.rows, k}, indices, block), Floats({logits.rows, k}, target, block),
          Floats(logits.rows, target + places, block)};
}

}  // namespace

void register_postprocess(py::module_& module) {
  module.def("softmax", &softmax, py::arg("logits"),
             "(probabilities, maximum of each row), the latter None where the call does not wait.");
  module.def("sigmoid", &sigmoid, py::arg("logits"), py::arg("threshold"),
             "(values, maximum of each piece), the latter None where the call does not wait.");
  module.def("top_k", &top_k, py::arg("logits"), py::arg("k"),
             "(indices, confidences, maximum of each row), the first two (rows, k).");
}

}  // namespace trtfast::bindings
