#include "engine/batcher.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <string>
#include <utility>

#include "error.h"

namespace trtfast {
namespace {

// How many delays long callers are remembered. In that time all of many come back to a busy event
// loop: would it forget them, batches would be small, and so the loop even busier.
constexpr int kMemory = 4;

/// Whether the items of a batch may be at fault for an error, and not what runs them.
bool may_be_of_an_item(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const CudaError&) {
    return false;
  } catch (const OutOfMemoryError&) {
    return false;
  } catch (const ClosedError&) {
    return false;
  } catch (const Error&) {
    return true;
  } catch (...) {
    return false;
  }
}

std::int64_t rows_of(const BatchItems& items) {
  return std::accumulate(items.begin(), items.end(), std::int64_t{0},
                         [](std::int64_t rows, const auto& item) { return rows + item->rows(); });
}

std::exception_ptr lateness() {
  return std::make_exception_ptr(
      DeadlineExceededError("the request's deadline passed before its batch began, and it was not "
                            "run: give it more time, or the engine more lanes"));
}

}  // namespace

void BatcherStats::reset() noexcept {
  forget_calls();
  for (auto* count : {&rows, &executions, &rejected, &expired, &cancelled}) {
    count->store(0, std::memory_order_relaxed);
  }
}

Batcher::Batcher(std::unique_ptr<BatchRunner> runner, BatcherOptions options)
    : runner_(std::move(runner)),
      options_(std::move(options)),
      process_(getpid()),
      callers_(kMemory * options_.max_queue_delay),
      watcher_([this](Clock::time_point now) { return sweep(now); }) {
  if (options_.max_batch_size < 1) {
    throw InputError("max_batch_size must be 1 or more, not " +
                     std::to_string(options_.max_batch_size));
  }
  std::ranges::sort(options_.preferred);
  for (const auto size : options_.preferred) {
    if (size < 1 || size > options_.max_batch_size) {
      throw InputError("preferred_batch_sizes must lie between 1 and max_batch_size=" +
                       std::to_string(options_.max_batch_size) + ", and " + std::to_string(size) +
                       " does not");
    }
  }
}

Batcher::~Batcher() { close(); }

bool Batcher::is_orphan() const noexcept { return getpid() != process_; }

std::vector<Tensor> Batcher::infer(const Item& item) {
  // Shared: who tells it is not done with it when the one who waits goes on.
  struct Wait {
    std::atomic<std::uint32_t> told = 0;
    Outcome outcome;
  };
  const auto wait = std::make_shared<Wait>();
  item->done = [wait](Outcome outcome) {
    wait->outcome = std::move(outcome);
    wait->told.store(1, std::memory_order_release);
    wait->told.notify_one();
  };
  std::optional<Groups::iterator> mine;
  {
    const std::scoped_lock lock(mutex_);
    const auto group = enqueue(item);
    // To wake a thread, and to be woken by it, takes as long as a small batch.
    if (active_ < options_.lanes && due(*group) <= item->times.asked) {
      ++group->claims;
      ++active_;
      ++own_runs_;
      mine = group;
    } else {
      wake_for(*group, item->rows());
    }
  }
  if (mine) {
    run(*mine);
    const std::scoped_lock lock(mutex_);
    --own_runs_;
    if (closed_) changed_.notify_all();
  }
  wait->told.wait(0, std::memory_order_acquire);
  if (wait->outcome.error) std::rethrow_exception(wait->outcome.error);
  return std::move(wait->outcome.outputs);
}

void Batcher::add(const Item& item) {
  const std::scoped_lock lock(mutex_);
  wake_for(*enqueue(item), item->rows());
}

// Under the lock.
Batcher::Groups::iterator Batcher::enqueue(const Item& item) {
  for (const auto& input : item->inputs) {
    if (input.shape.empty() || input.shape.front() != item->inputs.front().shape.front()) {
      throw InputError("all inputs of a request must have the same number of rows, not " +
                       str(item->inputs.front().shape) + " and " + str(input.shape));
    }
  }
  const std::int64_t rows = item->rows();
  if (rows < 1 || rows > options_.max_batch_size) {
    throw InputError("a request has " + std::to_string(rows) + " rows; expected 1 to " +
                     std::to_string(options_.max_batch_size) +
                     ", the largest batch: split it, or give the batcher a larger max_batch_size");
  }
  if (is_orphan()) {
    throw Error(
        "this process was forked after the batcher was made, whose threads stayed with "
        "the parent: make the batcher in this process");
  }
  if (closed_) throw ClosedError("the batcher is closed: make another");
  if (options_.max_queue && waiting_ >= *options_.max_queue) {
    stats_.rejected.fetch_add(1, std::memory_order_relaxed);
    throw QueueFullError("max_queue=" + std::to_string(*options_.max_queue) +
                         " requests wait already: try again later, or give the batcher a longer "
                         "queue or the engine more lanes");
  }
  // One more than lanes: while one tells callers, a lane is not kept waiting.
  while (threads_.size() <= options_.lanes) threads_.emplace_back([this] { work(); });
  if (item->deadline) watcher_.note(*item->deadline);
  auto group = std::ranges::find_if(groups_, [&](const Group& of) { return of.takes(*item); });
  if (group == groups_.end()) {
    group = groups_.emplace(groups_.end(), Group{item->recipe, {}});
    for (const auto& input : item->inputs) group->shapes.push_back(input.shape);
  }
  group->items.push_back(item);
  group->rows += rows;
  ++waiting_;
  callers_.came(rows, item->times.asked);
  return group;
}

// Wakes a thread for rows that have come to a group, unless one is awake for them. Under the lock.
void Batcher::wake_for(const Group& group, std::int64_t rows) {
  const std::int64_t before =
      std::max(std::int64_t{0}, group.unclaimed(options_.max_batch_size) - rows);
  if (before == 0 || before < enough()) look_after(group);
}

// Wakes a thread unless one will wake in time. Under the lock.
void Batcher::look_after(const Group& group) {
  if (due(group) < alarm_) changed_.notify_one();
}

void Batcher::has_ended(std::int64_t rows) {
  const std::scoped_lock lock(mutex_);
  --active_;
  running_ -= rows;
  callers_.were_told(rows, Clock::now());
}

// The rows at which a group need not wait. Under the lock.
std::int64_t Batcher::enough() const {
  const std::int64_t most =
      options_.preferred.empty() ? options_.max_batch_size : options_.preferred.front();
  if (running_ == 0 && !callers_.are_known()) return most;
  const std::int64_t known =
      std::accumulate(groups_.begin(), groups_.end(), running_ + callers_.expected(),
                      [](std::int64_t rows, const Group& group) { return rows + group.rows; });
  const auto lanes = static_cast<std::int64_t>(options_.lanes);
  return std::min(most, (known + lanes - 1) / lanes);
}

// The moment from which a thread may claim a batch of a group. Under the lock.
Clock::time_point Batcher::due(const Group& group) const {
  const std::int64_t unclaimed = group.unclaimed(options_.max_batch_size);
  if (unclaimed <= 0) return Clock::time_point::max();
  if (closed_ || unclaimed >= enough()) return Clock::time_point::min();
  std::int64_t claimed = group.rows - unclaimed;
  auto first = group.items.begin();
  for (; claimed > 0 && std::next(first) != group.items.end(); ++first) claimed -= (*first)->rows();
  // As callers are forgotten, less is enough.
  return std::min((*first)->times.asked + options_.max_queue_delay, callers_.next_forgotten());
}

// A group of which a batch is due; none once all is done and closed.
Batcher::Groups::iterator Batcher::claim(std::unique_lock<std::mutex>& lock) {
  const auto asked = [](const Group& group) { return group.items.front()->times.asked; };
  while (true) {
    const auto now = Clock::now();
    callers_.forget(now);
    auto chosen = groups_.end();
    auto next = Clock::time_point::max();
    for (auto group = groups_.begin(); group != groups_.end(); ++group) {
      const auto moment = due(*group);
      if (moment > now) {
        next = std::min(next, moment);
      } else if (chosen == groups_.end() || asked(*group) < asked(*chosen)) {
        chosen = group;
      }
    }
    if (chosen != groups_.end()) {
      ++chosen->claims;
      ++active_;
      for (const auto& left : groups_) look_after(left);
      return chosen;
    }
    if (closed_ && waiting_ == 0) return groups_.end();
    if (next >= alarm_) {  // also where none waits: the largest moment is none for a system's call
      changed_.wait(lock);
    } else {
      alarm_ = next;
      changed_.wait_until(lock, next);
      alarm_ = Clock::time_point::max();
    }
  }
}

void Batcher::leave(Groups::iterator group) noexcept {
  if (group->items.empty() && group->claims == 0) groups_.erase(group);
  if (closed_ && waiting_ == 0) changed_.notify_all();
}

BatchItems Batcher::take(Groups::iterator group, BatchItems& late) {
  BatchItems taken;
  const auto now = Clock::now();
  const std::scoped_lock lock(mutex_);
  --group->claims;
  const auto larger = std::ranges::upper_bound(options_.preferred, group->rows);
  const std::int64_t most =
      larger == options_.preferred.begin() ? options_.max_batch_size : *std::prev(larger);
  std::int64_t rows = 0;
  while (!group->items.empty()) {
    Item& first = group->items.front();
    const bool is_too_late = first->is_late(now);
    const std::int64_t more = first->rows();
    if (!is_too_late && rows > 0 && rows + more > most) break;
    if (!is_too_late) rows += more;
    (is_too_late ? late : taken).push_back(std::move(first));
    group->items.pop_front();
    group->rows -= more;
    --waiting_;
  }
  running_ += rows;
  if (!taken.empty()) ++batch_sizes_[rows];
  look_after(*group);
  leave(group);
  return taken;
}

void Batcher::work() {
  while (true) {
    Groups::iterator group;
    {
      std::unique_lock lock(mutex_);
      group = claim(lock);
      if (group == groups_.end()) return;
    }
    run(group);
  }
}

void Batcher::run(Groups::iterator group) {
  BatchItems items;
  BatchItems late;
  Timeline times;
  bool is_taken = false;
  const auto taking = [&]() -> const BatchItems& {
    is_taken = true;
    return items = take(group, late);
  };
  const auto error = attempt(taking, times);
  if (!is_taken) static_cast<void>(taking());  // there is no lane for it, and will be none
  has_ended(rows_of(items));
  stats_.executions.fetch_add(items.empty() ? 0 : 1, std::memory_order_relaxed);
  stats_.expired.fetch_add(late.size(), std::memory_order_relaxed);
  if (!late.empty()) tell(late, times, lateness());
  if (!error || items.size() == 1 || !may_be_of_an_item(error)) {
    tell(items, times, error);
    return;
  }
  for (const auto& item : items) {  // each alone, so that only the one at fault fails
    const BatchItems alone = {item};
    Timeline times_alone;
    item->outputs.clear();
    const auto error_alone = attempt([&]() -> const BatchItems& { return alone; }, times_alone);
    stats_.executions.fetch_add(1, std::memory_order_relaxed);
    tell(alone, times_alone, error_alone);
  }
}

std::exception_ptr Batcher::attempt(const Take& take, Timeline& times) {
  try {
    runner_->run(take, times);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

void Batcher::tell(const BatchItems& items, const Timeline& times,
                   const std::exception_ptr& error) {
  for (const auto& item : items) {
    if (error) {
      stats_.failures.fetch_add(1, std::memory_order_relaxed);
      item->outputs.clear();
    } else {
      item->times.started = times.started;
      item->times.sent = times.sent;
      item->times.computed = times.computed;
      item->times.done = Clock::now();
      stats_.rows.fetch_add(static_cast<std::uint64_t>(item->rows()), std::memory_order_relaxed);
      stats_.add(item->times);
    }
    std::exchange(item->done, {})({std::move(item->outputs), error});
  }
}

bool Batcher::cancel(const Item& item) {
  const std::scoped_lock lock(mutex_);
  for (auto group = groups_.begin(); group != groups_.end(); ++group) {
    const auto found = std::ranges::find(group->items, item);
    if (found == group->items.end()) continue;
    group->rows -= item->rows();
    group->items.erase(found);
    --waiting_;
    stats_.cancelled.fetch_add(1, std::memory_order_relaxed);
    look_after(*group);  // of fewer rows, fewer are enough
    leave(group);
    return true;
  }
  return false;
}

Clock::time_point Batcher::sweep(Clock::time_point now) {
  BatchItems late;
  auto following = Clock::time_point::max();
  {
    const std::scoped_lock lock(mutex_);
    for (auto group = groups_.begin(); group != groups_.end();) {
      const auto next = std::next(group);
      group->items.remove_if([&](const Item& item) {
        if (!item->is_late(now)) {
          if (item->deadline) following = std::min(following, *item->deadline);
          return false;
        }
        group->rows -= item->rows();
        --waiting_;
        late.push_back(item);
        return true;
      });
      look_after(*group);
      leave(group);
      group = next;
    }
  }
  stats_.expired.fetch_add(late.size(), std::memory_order_relaxed);
  if (!late.empty()) tell(late, {}, lateness());
  return following;
}

std::map<std::int64_t, std::uint64_t> Batcher::batch_sizes() const {
  const std::scoped_lock lock(mutex_);
  return batch_sizes_;
}

std::size_t Batcher::waiting() const {
  const std::scoped_lock lock(mutex_);
  return waiting_;
}

void Batcher::reset_stats() {
  stats_.reset();
  const std::scoped_lock lock(mutex_);
  batch_sizes_.clear();
}

void Batcher::close() {
  if (is_orphan()) return;
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (auto& thread : threads) thread.join();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return own_runs_ == 0; });
  }
  watcher_.stop();
}

}  // namespace trtfast
