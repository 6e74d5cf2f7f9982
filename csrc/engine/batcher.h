// Gathers the requests of many callers into batches.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/batch.h"
#include "engine/batch_queue.h"
#include "engine/stats.h"
#include "engine/watcher.h"
#include "engine/workers.h"

namespace trtfast {

/// What a batcher counts, by request but for `executions`.
struct BatcherStats : CallStats {
  std::atomic<std::uint64_t> rows = 0;        // of those that were answered
  std::atomic<std::uint64_t> executions = 0;  // batches
  std::atomic<std::uint64_t> rejected = 0;    // as the queue was full
  std::atomic<std::uint64_t> expired = 0;     // as their deadline passed
  std::atomic<std::uint64_t> cancelled = 0;

  void reset() noexcept;
};

/// Runs the batches that a queue has due, on threads of its own and of those who wait, and tells
/// each request its outcome. Requests come from any thread.
class Batcher {
 public:
  using Item = BatchQueue::Item;

  /// @throws InputError
  Batcher(std::unique_ptr<BatchRunner> runner, BatcherOptions options);
  ~Batcher();
  Batcher(const Batcher&) = delete;  // its threads hold its address
  Batcher& operator=(const Batcher&) = delete;

  /// Waits for the outputs of a request, whose batch this thread runs itself where a lane is free.
  /// Safe from several threads at once.
  /// @throws what add() does, DeadlineExceededError, and what the run of its batch does.
  [[nodiscard]] std::vector<Tensor> infer(const Item& item);

  /// @throws InputError, QueueFullError, ClosedError
  void add(const Item& item);

  /// Takes back a request that waits; its `done` is not called then.
  bool cancel(const Item& item);

  [[nodiscard]] const BatcherStats& stats() const noexcept { return stats_; }
  /// How many batches had how many rows.
  [[nodiscard]] std::map<std::int64_t, std::uint64_t> batch_sizes() const;
  [[nodiscard]] std::size_t waiting() const;
  void reset_stats();

  /// Refuses new requests, and returns when those that wait have been answered. May be called
  /// again.
  void close();

  /// True in a process that was forked after this was made: its threads stayed with the parent.
  [[nodiscard]] bool is_orphan() const noexcept;

 private:
  using Group = BatchQueue::Group;
  using Take = std::function<const BatchItems&()>;

  using Worker = Workers::Worker;

  [[nodiscard]] BatchQueue::Added enqueue(const Item& item);
  [[nodiscard]] Worker* worker_for(Clock::time_point due, Clock::time_point now);
  void work(Worker& worker);
  [[nodiscard]] std::optional<Group> claim(Worker& worker);
  [[nodiscard]] BatchQueue::Taken take(Group group);
  void has_left();
  void run(Group group);
  [[nodiscard]] std::exception_ptr attempt(const Take& take, Timeline& times);
  void tell(const BatchItems& items, const Timeline& times, const std::exception_ptr& error);
  void tell_late(const BatchItems& items);
  [[nodiscard]] Clock::time_point sweep(Clock::time_point now);

  std::unique_ptr<BatchRunner> runner_;
  unsigned forks_;  // of the process that made it
  BatcherStats stats_;
  mutable std::mutex mutex_;
  BatchQueue queue_;
  Workers workers_;
  std::size_t active_ = 0;    // threads that have claimed a batch, until it has run
  std::size_t own_runs_ = 0;  // of those who wait for them, on their own threads
  std::condition_variable own_run_ended_;
  std::map<std::int64_t, std::uint64_t> batch_sizes_;
  Watcher watcher_;  // of deadlines, and of when batches are due
};

}  // namespace trtfast
