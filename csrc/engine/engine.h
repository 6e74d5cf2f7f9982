// An engine that serves calls from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/async.h"
#include "engine/lane_pool.h"
#include "engine/plan.h"
#include "engine/profile.h"
#include "engine/stats.h"
#include "engine/tensor.h"

namespace trtfast {

struct EngineOptions {
  int device = 0;
  int lanes = 2;                         // calls that may run at once
  std::optional<std::size_t> max_queue;  // calls that may wait; none for any number
  LaneOptions lane;                      // how each lane runs
  Sharing activations = Sharing::kLane;
  bool allow_unsupported_gpu = false;
  std::span<const std::byte> kernels;  // what Engine::kernels() gave in an earlier process
  std::string traced_as;               // each call's range in a profiler; empty for none
};

/// What an engine holds: bytes, but for `graphs`.
struct MemoryReport {
  std::vector<LaneMemory> lanes;
  std::size_t shared_activations = 0;
};

class Engine {
 public:
  /// @throws InputError, UnsupportedDeviceError, EngineIncompatibleError, OutOfMemoryError
  Engine(const std::shared_ptr<const tensorrt::Library>& library, std::span<const std::byte> plan,
         const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;  // callers hold its address
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] int device() const noexcept { return device_; }
  [[nodiscard]] const std::vector<TensorSpec>& inputs() const noexcept { return inputs_; }
  [[nodiscard]] const std::vector<TensorSpec>& outputs() const noexcept { return outputs_; }
  /// @throws ClosedError
  [[nodiscard]] std::string inspect() const { return plan()->inspect(); }
  /// As Plan has them; none once it is closed.
  [[nodiscard]] bool take_new_kernels() const;
  [[nodiscard]] std::vector<std::byte> kernels() const;

  /// Runs the engine. Safe from several threads at once.
  /// @return the outputs in the order of outputs().
  /// @throws InputError, QueueFullError, DeadlineExceededError, ClosedError, OutOfMemoryError,
  ///   CudaError
  [[nodiscard]] std::vector<Tensor> infer(Request request, const Deadline& deadline = {});

  /// Runs the engine on a thread of its own.
  /// @param done see AsyncCalls::add().
  /// @return a number for cancel().
  /// @throws InputError, QueueFullError, ClosedError
  std::uint64_t infer_async(Request request, const Deadline& deadline, AsyncCalls::Done done);
  bool cancel(std::uint64_t number) { return async_.cancel(number); }

  /// Runs a batch that is made up only once there is a lane for it.
  /// @param make the request, with `shares`; null for none.
  /// @throws what infer() does, but for QueueFullError
  void infer_batch(const std::function<const Request*()>& make, Timeline& times);

  /// A request to run the engine, which must have one input, on images.
  /// @param batch lives until the request has been run.
  /// @throws InputError if that input is of another kind.
  [[nodiscard]] Request image_request(const images::Batch& batch) const;

  /// Captures graphs for these shapes of all inputs, on every lane.
  /// @param shapes several sets; none for the best shapes of each profile.
  void warm_up(std::vector<std::vector<Shape>> shapes);

  /// The shapes that the outputs have for these of the inputs; -1 where they depend on data.
  [[nodiscard]] std::vector<Shape> output_shapes(std::span<const Shape> shapes);

  /// The mean time of each layer with these inputs. It holds a lane meanwhile, but runs beside it.
  [[nodiscard]] std::vector<LayerTime> profile(const Request& request, int runs);

  [[nodiscard]] const Stats& stats() const noexcept { return stats_; }
  void reset_stats() noexcept { stats_.reset(); }
  [[nodiscard]] MemoryReport memory();

  /// Waits for the calls under way and frees the lanes and the plan. Later calls throw ClosedError.
  void close();

 private:
  [[nodiscard]] std::shared_ptr<const Plan> plan() const;
  void check(const Request& request) const;
  template <class Make>
  [[nodiscard]] std::vector<Tensor> run(const Make& make, LanePool::Place place,
                                        const Deadline& deadline, Timeline& times);

  mutable std::mutex mutex_;
  std::shared_ptr<const Plan> plan_;     // null once it is closed
  std::shared_ptr<Activations> shared_;  // null where each lane has its own
  int device_;
  std::vector<TensorSpec> inputs_;
  std::vector<TensorSpec> outputs_;
  std::string traced_as_;
  Stats stats_;
  LanePool pool_;
  AsyncCalls async_;
};

}  // namespace trtfast
