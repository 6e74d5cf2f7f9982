// What waits to be run in batches, and of what a batch is due.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "engine/batch.h"
#include "engine/batch_group.h"
#include "engine/callers.h"
#include "engine/stats.h"

namespace trtfast {

struct BatcherOptions {
  std::int64_t max_batch_size = 1;            // rows
  Clock::duration max_queue_delay = {};       // how long a request may wait for others
  std::vector<std::int64_t> preferred = {};   // numbers of rows at which nothing is waited for
  std::optional<std::size_t> max_queue = {};  // requests that may wait; none for any number
  std::size_t lanes = 1;                      // batches that run side by side
  Clock::duration awake = {};  // how long a thread looks for a batch before it sleeps
};

/// Requests wait in groups of those that fit together. A group is due when it has rows enough, or
/// when its first request has waited for the longest time; until it is taken it grows. Of several
/// that are due, the one that waits longest is first.
///
/// Enough are the rows of a batch, or of a preferred size. Where there were others just now, a
/// lane's share of all is enough: of the rows that wait, that run, and that were answered so lately
/// that their callers may be about to come back. Nor are more taken, but for a preferred size. So
/// callers who ask again and again share the lanes evenly, and a single one waits for nobody.
///
/// Not safe from several threads at once, and knows no time but what it is told.
class BatchQueue {
 public:
  using Item = std::shared_ptr<BatchItem>;
  using Group = std::list<BatchGroup>::iterator;
  static constexpr Clock::time_point kAtOnce = Clock::time_point::min();
  static constexpr Clock::time_point kNever = Clock::time_point::max();

  struct Added {
    Group group = {};
    Clock::time_point due = kNever;  // when a batch of the group is
    bool is_news = false;            // whether it may be due earlier than before
  };

  /// @throws InputError
  explicit BatchQueue(BatcherOptions options);

  [[nodiscard]] const BatcherOptions& options() const noexcept { return options_; }
  /// How many requests.
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }

  /// @throws InputError for a request that fits into no batch.
  void check(const BatchItem& item) const;
  /// @param item that was checked.
  Added add(const Item& item);

  /// When the next batch may be claimed.
  [[nodiscard]] Clock::time_point next_due() const;

  /// Claims the next batch of a group, which is the claimer's to take: others are due of what it
  /// leaves.
  static void claim(Group group) noexcept { ++group->claims; }
  /// Claims one of the group that waits longest; none where nothing is due.
  [[nodiscard]] std::optional<Group> claim_due(Clock::time_point now);

  struct Taken {
    BatchItems items = {};
    BatchItems late = {};            // those whose deadline has passed
    std::int64_t rows = 0;           // of the items
    Clock::time_point due = kNever;  // when the next batch of the group is
  };
  /// Takes the batch that was claimed; the group may be gone afterwards.
  [[nodiscard]] Taken take(Group group, Clock::time_point now);
  /// Rows that were taken have run: their callers may come back.
  void have_run(std::int64_t rows, Clock::time_point now);

  /// @return whether the request waited.
  bool remove(const Item& item);
  struct Late {
    BatchItems items = {};
    Clock::time_point following = kNever;  // the next deadline
  };
  [[nodiscard]] Late remove_late(Clock::time_point now);

  /// From now on nobody is waited for, as nobody comes any more.
  void close() noexcept { is_closed_ = true; }
  [[nodiscard]] bool is_closed() const noexcept { return is_closed_; }
  /// Closed, and nothing waits.
  [[nodiscard]] bool is_done() const noexcept { return is_closed_ && waiting_ == 0; }

 private:
  [[nodiscard]] std::optional<std::int64_t> known() const;
  [[nodiscard]] std::int64_t enough() const;
  [[nodiscard]] std::int64_t most(const BatchGroup& group) const;
  [[nodiscard]] Clock::time_point due(const BatchGroup& group, std::int64_t enough) const;
  void leave(Group group) noexcept;

  BatcherOptions options_;
  std::list<BatchGroup> groups_;
  std::size_t waiting_ = 0;
  std::int64_t running_ = 0;  // rows
  Callers callers_;
  bool is_closed_ = false;
};

}  // namespace trtfast
