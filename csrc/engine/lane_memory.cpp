// Where the tensors of a run are, and how they get there and back.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "engine/run.h"
#include "engine/transfer.h"
#include "error.h"
#include "images/batch.h"

namespace trtfast {
namespace {

// Up to here a transfer belongs to the run, and so to its graph; a longer one is worth a call of
// its own, since it then goes on while the graph is launched.
constexpr std::size_t kShort = std::size_t{64} << 10U;

bool is_aligned(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address) % kAlignment == 0;
}

void check_shape(const TensorSpec& spec, const OutputView& given, const Shape& shape) {
  if (given.shape == shape) return;
  throw InputError("out: output '" + spec.name + "' has the shape " + str(shape) +
                   " for these inputs, and the array given for it " + str(given.shape));
}

void gather(std::byte* to, const TensorView& input, std::size_t bytes) {
  for (const auto& piece : input.pieces) {
    if (piece.bytes > 0) std::memcpy(to + piece.at, piece.source, piece.bytes);
  }
  if (input.pieces.empty() && bytes > 0) std::memcpy(to, input.data, bytes);
}

/// What TensorRT has told of an output whose shape depends on data.
void check_found(const TensorSpec& spec, const Slot& slot, const OutputView* given) {
  if (!slot.told) throw Error("TensorRT did not tell the shape of output '" + spec.name + "'");
  if (byte_size(slot.found, spec.dtype) > slot.device.size()) {
    throw Error("TensorRT gave output '" + spec.name + "' the shape " + str(slot.found) +
                ", which needs more memory than it asked for");
  }
  if (given != nullptr) check_shape(spec, *given, slot.found);
}

}  // namespace

// Decides where each tensor is on the device, and which copies belong to the run: what a graph of
// it bakes in.
void Lane::place(Run& run) {
  run.addresses.assign(2 * (inputs_.size() + outputs_.size()), nullptr);
  run.results.resize(outputs_.size());
  for (std::size_t index = 0; index < inputs_.size(); ++index) place_input(run, index);
  for (std::size_t index = 0; index < outputs_.size(); ++index) place_output(run, index);
  run.variant = &Buckets::variant(*run.bucket, run.addresses, run.has_callers_address);
}

// A copy in a graph belongs to the memory that it was captured with: were that freed, the driver
// would crash, even where new memory has come to lie at its address. So the graphs go first.
template <class Buffer>
void Lane::grow(Run& run, Buffer& buffer, std::size_t bytes) {
  bytes = std::max(bytes, kSmallestBuffer);
  if (bytes <= buffer.size()) return;
  buckets_.drop_graphs();
  buffer.reserve(bytes);
  run.news = true;
}

void Lane::place_input(Run& run, std::size_t index) {
  const TensorSpec& spec = plan_->inputs()[index];
  const TensorView& input = run.request.inputs[index];
  Slot& slot = inputs_[index];
  if (spec.on_host) return;
  if (input.memory == Memory::kDevice && !run.rows && input.data != nullptr &&
      is_aligned(input.data)) {
    run.input(index) = input.data;
    run.has_callers_address = true;
    return;
  }
  const std::size_t bytes = byte_size(run.shapes[index], spec.dtype);
  grow(run, slot.device, bytes);
  run.input(index) = slot.device.data();
  if (input.images != nullptr) {
    grow(run, slot.images, input.images->held());
    grow(run, slot.pinned, input.images->sent());
    return;
  }
  if (input.memory == Memory::kDevice) return;
  const bool is_short = bytes <= kShort;
  if (is_short || input.memory == Memory::kPageable) grow(run, slot.pinned, bytes);
  if (is_short) run.source(index) = slot.pinned.data();
}

void Lane::place_output(Run& run, std::size_t index) {
  const TensorSpec& spec = plan_->outputs()[index];
  const Shape& shape = run.bucket->outputs[index];
  const auto* given = run.view(index);
  Slot& slot = outputs_[index];
  run.results[index].dtype = spec.dtype;
  if (is_dynamic(shape)) return;  // known only once it has run
  const Shape cut = run.cut(shape);
  if (given != nullptr) check_shape(spec, *given, cut);
  const std::size_t bytes = byte_size(shape, spec.dtype);
  if (spec.on_host || run.is_staged(index)) grow(run, slot.pinned, bytes);
  if (spec.on_host) return;
  const void* place = nullptr;
  if (given != nullptr && given->memory == Memory::kDevice) {
    place = given->data;
  } else if (given == nullptr && run.request.device_outputs) {
    run.results[index].device =
        cuda::PooledMemory(plan_->device(), byte_size(cut, spec.dtype), run.stream);
    place = run.results[index].device.data();
  }
  if (place != nullptr && !run.rows && is_aligned(place)) {
    run.output(index) = place;
    run.has_callers_address = true;
    return;
  }
  grow(run, slot.device, bytes);
  run.output(index) = slot.device.data();
  // The caller's page-locked memory is no part of the run: it may be freed under a graph.
  if (run.is_staged(index)) run.target(index) = slot.pinned.data();
}

void Lane::copy_in(Run& run) {
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    const TensorSpec& spec = plan_->inputs()[index];
    const TensorView& input = run.request.inputs[index];
    Slot& slot = inputs_[index];
    if (spec.on_host) continue;  // make_bucket() has given its value
    auto* const target = slot.device.data();
    if (run.input(index) != target) continue;  // it is where the caller has it
    const std::size_t bytes = byte_size(input.shape, spec.dtype);
    const std::size_t padding = byte_size(run.shapes[index], spec.dtype) - bytes;
    if (run.source(index) != nullptr) {  // the run sends it, from where it has to be first
      gather(slot.pinned.data(), input, bytes);
      if (padding > 0) std::memset(slot.pinned.data() + bytes, 0, padding);
      continue;
    }
    if (input.images != nullptr) {
      send_images(slot, input, run.stream);
    } else if (!input.pieces.empty()) {
      send(target, slot.pinned.data(), input.pieces, bytes, run.stream, options_.wait);
    } else if (input.memory == Memory::kPageable) {
      send(target, slot.pinned.data(), input.data, bytes, run.stream, options_.wait);
    } else {
      copy_async(
          target, input.data, bytes,
          input.memory == Memory::kDevice ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice,
          run.stream);
    }
    if (padding > 0) TRTFAST_CUDA(cudaMemsetAsync(target + bytes, 0, padding, run.stream));
  }
}

void Lane::send_images(Slot& slot, const TensorView& input, cudaStream_t stream) const {
  const images::Batch& batch = *input.images;
  std::byte* device = slot.images.data();
  batch.describe(slot.pinned.data(), device);
  std::vector<Piece> pieces;
  pieces.reserve(batch.images().size());
  for (std::size_t index = 0; index < batch.images().size(); ++index) {
    const images::Image& image = batch.images()[index];
    if (!image.on_device) pieces.push_back({batch.place(index), image.pixels, image.bytes()});
  }
  send(device, slot.pinned.data(), pieces, batch.sent(), stream, options_.wait);
  batch.preprocess(device, slot.device.data(), input.dtype, stream);
}

// What goes to memory that no graph knows.
void Lane::copy_out(Run& run) {
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    const TensorSpec& spec = plan_->outputs()[index];
    Slot& slot = outputs_[index];
    Tensor& result = run.results[index];
    const auto* given = run.view(index);
    const bool depends_on_data = is_dynamic(run.bucket->outputs[index]);
    if (depends_on_data) check_found(spec, slot, given);
    run.news |= depends_on_data;  // its memory may have grown
    result.shape = depends_on_data ? slot.found : run.cut(run.bucket->outputs[index]);
    if (spec.on_host || run.target(index) != nullptr) continue;  // submit() has copied it
    const std::size_t bytes = byte_size(result.shape, spec.dtype);
    std::byte* target = given != nullptr ? given->data : result.device.data();
    if (run.is_staged(index)) {
      slot.reserve_pinned(
          bytes);  // grows only where the shape depends on data: there are no graphs
      target = slot.pinned.data();
    } else if (target == nullptr && bytes > 0) {
      result.device = cuda::PooledMemory(plan_->device(), bytes, run.stream);
      target = result.device.data();
    }
    if (!depends_on_data && target == run.output(index)) continue;  // TensorRT has put it there
    const bool to_host =
        run.is_staged(index) || (given != nullptr && given->memory == Memory::kPinned);
    copy_async(target, slot.device.data(), bytes,
               to_host ? cudaMemcpyDeviceToHost : cudaMemcpyDeviceToDevice, run.stream);
  }
}

std::vector<Tensor> Lane::collect(Run& run) {
  for (std::size_t index = 0; index < outputs_.size(); ++index) {
    Tensor& result = run.results[index];
    const auto* given = run.view(index);
    result.device.set_last_user(run.request.stream.value_or(nullptr));
    if (!run.is_staged(index) && !plan_->outputs()[index].on_host) continue;
    if (!run.request.shares.empty()) {
      deal(run.request.shares, plan_->outputs()[index].name, outputs_[index].pinned.data(),
           result.shape, result.dtype, options_.wait);
      continue;
    }
    const std::size_t bytes = byte_size(result.shape, result.dtype);
    std::byte* target = given != nullptr ? given->data : nullptr;
    if (target == nullptr) {
      result.data = std::make_unique_for_overwrite<std::byte[]>(bytes);
      target = result.data.get();
    }
    copy(target, outputs_[index].pinned.data(), bytes, options_.wait);
  }
  return std::move(run.results);
}

}  // namespace trtfast
