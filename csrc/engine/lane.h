// One way through an engine: a stream, the buffers of its tensors, contexts for each profile in
// use, and the graphs of the shapes in use.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "cuda/event.h"
#include "cuda/nvtx.h"
#include "cuda/stream.h"
#include "engine/activations.h"
#include "engine/bucket.h"
#include "engine/executor.h"
#include "engine/plan.h"
#include "engine/slot.h"
#include "engine/stats.h"
#include "engine/tensor.h"

namespace trtfast {

/// What a call asks for.
struct Request {
  std::vector<TensorView> inputs;        // in the order of the plan's inputs, each of its dtype
  std::vector<OutputView> outputs = {};  // where outputs go; empty for new memory
  bool device_outputs = false;           // whether that new memory is on the device
  /// The caller's stream: the run is submitted to it, and run() does not wait.
  std::optional<cudaStream_t> stream = {};
  const cuda::Event* inputs_ready = nullptr;  // what has to happen on the device before
  bool exact_shapes = false;                  // a warm-up: not padded, and kept
  std::span<const Share> shares = {};         // who gets the outputs, if not the caller of run()
};

struct LaneOptions {
  bool cuda_graph = true;
  cuda::Wait wait = cuda::Wait::kSpin;
  bool pad_to_bucket = false;
};

/// Bytes that a lane holds, and how many graphs.
struct LaneMemory {
  std::size_t device = 0;
  std::size_t pinned = 0;
  std::size_t activations = 0;
  std::size_t graphs = 0;
};

class Lane {
 public:
  /// @param activations shared with the other lanes; null to have one's own.
  /// @throws OutOfMemoryError
  Lane(std::shared_ptr<const Plan> plan, const LaneOptions& options,
       std::shared_ptr<Activations> activations, Stats& stats);
  ~Lane();
  Lane(const Lane&) = delete;  // owns contexts
  Lane& operator=(const Lane&) = delete;

  /// Copies in, runs, copies out, and waits once, at the end. One thread at a time.
  /// @return the outputs, in the order of the plan's outputs.
  /// @throws InputError, OutOfMemoryError, CudaError, Error
  [[nodiscard]] std::vector<Tensor> run(const Request& request, Timeline& times,
                                        cuda::Trace& trace);

  /// Runs with inputs of these shapes until it replays a graph, if it can.
  void warm_up(std::span<const Shape> shapes);

  /// The outputs' shapes for these of the inputs; -1 where they depend on data.
  [[nodiscard]] std::vector<Shape> output_shapes(std::span<const Shape> shapes);

  /// May be asked from any thread.
  [[nodiscard]] LaneMemory memory() const;

 private:
  struct Run;

  void find_bucket(Run& run);
  Bucket& make_bucket(const Run& run);
  void place(Run& run);
  void place_input(Run& run, std::size_t index);
  void place_output(Run& run, std::size_t index);
  template <class Buffer>
  void grow(Run& run, Buffer& buffer, std::size_t bytes);
  void copy_in(Run& run);
  void send_images(Slot& slot, const TensorView& input, cudaStream_t stream) const;
  void launch(Run& run);
  void capture(Run& run, cuda::Trace& trace);
  void submit(Run& run, cudaStream_t stream);
  void copy_out(Run& run);
  void wait_for(Run& run);
  void retire(Run& run);
  [[nodiscard]] std::vector<Tensor> collect(Run& run);
  void note_memory();
  void choose_executor(Run& run);
  [[nodiscard]] std::unique_ptr<Executor>& slot_of(int profile, Role role);
  [[nodiscard]] Executor& executor_of(int profile, Role role);

  std::shared_ptr<const Plan> plan_;
  LaneOptions options_;
  Stats& stats_;
  cuda::Stream stream_;
  cuda::Event done_;
  cuda::Event submitted_;   // of the last run on a caller's stream,
  bool in_flight_ = false;  // which may not have ended yet
  std::vector<Slot> inputs_;
  std::vector<Slot> outputs_;
  std::vector<tensorrt::OutputAllocator> allocators_;
  std::shared_ptr<Activations> activations_;
  bool own_activations_;
  Role first_role_;  // of the context that new shapes are asked of
  Buckets buckets_;
  mutable std::mutex memory_mutex_;
  LaneMemory memory_;
  // The contexts come last, to be destroyed before what they point to.
  // By profile and role; null until one is used.
  std::vector<std::array<std::unique_ptr<Executor>, 2>> executors_;
};

}  // namespace trtfast
