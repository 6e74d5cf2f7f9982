// Requests that are run together, and what runs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/lane_pool.h"
#include "engine/stats.h"
#include "engine/tensor.h"
#include "images/batch.h"

namespace trtfast {

class Engine;

/// A request for some rows of a batch. Its memory is the caller's, and stays until it is told.
struct BatchItem {
  std::vector<TensorView> inputs = {};                // in pageable memory;
  std::shared_ptr<const images::Recipe> recipe = {};  // or else
  std::vector<images::Image> images = {};             // images, on the host
  Deadline deadline = {};                             // until which it must begin
  std::function<void(Outcome)> done = {};  // told once, from another thread; must not throw
  Timeline times = {};
  std::vector<Tensor> outputs = {};

  [[nodiscard]] std::int64_t rows() const {
    return recipe != nullptr ? static_cast<std::int64_t>(images.size())
                             : inputs.front().shape.front();
  }
  [[nodiscard]] bool is_late(Clock::time_point now) const { return deadline && *deadline <= now; }
};

using BatchItems = std::vector<std::shared_ptr<BatchItem>>;

/// What runs batches. Several threads may ask it to at once.
class BatchRunner {
 public:
  BatchRunner() = default;
  virtual ~BatchRunner() = default;
  BatchRunner(const BatchRunner&) = delete;  // a batcher holds it
  BatchRunner& operator=(const BatchRunner&) = delete;

  /// Runs a batch, and leaves each item its outputs.
  /// @param take gives the batch, once it can be run at once; empty for none. The items have a
  ///   row or more each, and shapes that are alike but for the rows.
  /// @param times its moments.
  virtual void run(const std::function<const BatchItems&()>& take, Timeline& times) = 0;
};

/// Runs batches on an engine: rows go straight from their callers to where the GPU fetches them.
class EngineRunner final : public BatchRunner {
 public:
  explicit EngineRunner(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}
  void run(const std::function<const BatchItems&()>& take, Timeline& times) override;

 private:
  std::shared_ptr<Engine> engine_;
};

}  // namespace trtfast
