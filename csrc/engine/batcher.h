// Gathers the requests of many callers into batches.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/batch.h"
#include "engine/batch_group.h"
#include "engine/callers.h"
#include "engine/stats.h"
#include "engine/watcher.h"

namespace trtfast {

struct BatcherOptions {
  std::int64_t max_batch_size = 1;            // rows
  Clock::duration max_queue_delay = {};       // how long a request may wait for others
  std::vector<std::int64_t> preferred = {};   // numbers of rows at which nothing is waited for
  std::optional<std::size_t> max_queue = {};  // requests that may wait; none for any number
  std::size_t lanes = 1;                      // batches that run side by side
};

/// What a batcher counts, by request but for `executions`.
struct BatcherStats : CallStats {
  std::atomic<std::uint64_t> rows = 0;        // of those that were answered
  std::atomic<std::uint64_t> executions = 0;  // batches
  std::atomic<std::uint64_t> rejected = 0;    // as the queue was full
  std::atomic<std::uint64_t> expired = 0;     // as their deadline passed
  std::atomic<std::uint64_t> cancelled = 0;

  void reset() noexcept;
};

/// Requests wait in groups of those that fit together. A group is run when it has rows enough, or
/// when its first request has waited for the longest time, and a lane is free: until then it grows.
/// Of several groups, the one that waits longest is first.
///
/// Enough are the rows of a batch, or of a preferred size. Where there were others just now, a
/// lane's share of all is enough: of the rows that wait, that run, and that were answered so lately
/// that their callers may be about to come back. So callers who ask again and again share the lanes
/// evenly, and a single one waits for nobody.
class Batcher {
 public:
  using Item = std::shared_ptr<BatchItem>;

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
  using Group = BatchGroup;
  using Groups = std::list<Group>;
  using Take = std::function<const BatchItems&()>;

  [[nodiscard]] Groups::iterator enqueue(const Item& item);
  void wake_for(const Group& group, std::int64_t rows);
  void look_after(const Group& group);
  void work();
  [[nodiscard]] Groups::iterator claim(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::int64_t enough() const;
  [[nodiscard]] Clock::time_point due(const Group& group) const;
  [[nodiscard]] BatchItems take(Groups::iterator group, BatchItems& late);
  void leave(Groups::iterator group) noexcept;
  void run(Groups::iterator group);
  [[nodiscard]] std::exception_ptr attempt(const Take& take, Timeline& times);
  void tell(const BatchItems& items, const Timeline& times, const std::exception_ptr& error);
  void has_ended(std::int64_t rows);
  [[nodiscard]] Clock::time_point sweep(Clock::time_point now);

  std::unique_ptr<BatchRunner> runner_;
  BatcherOptions options_;
  int process_;
  BatcherStats stats_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  // At which a thread wakes that waits for a group to be due.
  Clock::time_point alarm_ = Clock::time_point::max();
  Groups groups_;
  std::size_t waiting_ = 0;
  std::int64_t running_ = 0;  // rows
  std::size_t active_ = 0;    // threads that have claimed a batch, until it has run
  std::size_t own_runs_ = 0;  // of those who wait for them, on their own threads
  Callers callers_;
  std::map<std::int64_t, std::uint64_t> batch_sizes_;
  bool closed_ = false;
  std::vector<std::thread> threads_;
  Watcher watcher_;  // of deadlines
};

}  // namespace trtfast
