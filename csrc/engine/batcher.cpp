#include "engine/batcher.h"

#include <string>
#include <utility>

#include "cuda/fork.h"
#include "error.h"

namespace trtfast {
namespace {

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
      forks_(cuda::forks()),
      queue_(std::move(options)),
      // One more than lanes: while one tells callers, a lane is not kept waiting.
      workers_(queue_.options().lanes + 1, queue_.options().awake,
               [this](Worker& worker) { work(worker); }),
      watcher_([this](Clock::time_point now) { return sweep(now); }) {}

Batcher::~Batcher() { close(); }

bool Batcher::is_orphan() const noexcept { return cuda::forks() != forks_; }

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
  std::optional<Group> mine;
  Worker* worker = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    const auto added = enqueue(item);
    // To wake a thread, and to be woken by it, takes as long as a small batch.
    if (active_ < queue_.options().lanes && added.due <= item->times.asked) {
      mine = added.group;
      BatchQueue::claim(added.group);
      ++active_;
      ++own_runs_;
    } else if (added.is_news) {
      worker = worker_for(added.due, item->times.asked);
    }
  }
  Workers::call(worker);
  if (mine) {
    run(*mine);
    const std::scoped_lock lock(mutex_);
    --own_runs_;
    if (queue_.is_closed()) own_run_ended_.notify_all();
  }
  wait->told.wait(0, std::memory_order_acquire);
  if (wait->outcome.error) std::rethrow_exception(wait->outcome.error);
  return std::move(wait->outcome.outputs);
}

void Batcher::add(const Item& item) {
  Worker* worker = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    const auto added = enqueue(item);
    if (added.is_news) worker = worker_for(added.due, item->times.asked);
  }
  Workers::call(worker);  // who takes the lock at once
}

// Under the lock.
BatchQueue::Added Batcher::enqueue(const Item& item) {
  const BatcherOptions& options = queue_.options();
  queue_.check(*item);
  if (is_orphan()) {
    throw Error(
        "this process was forked after the batcher was made, whose threads stayed with "
        "the parent: make the batcher in this process");
  }
  if (queue_.is_closed()) throw ClosedError("the batcher is closed: make another");
  if (options.max_queue && queue_.waiting() >= *options.max_queue) {
    stats_.rejected.fetch_add(1, std::memory_order_relaxed);
    throw QueueFullError("max_queue=" + std::to_string(*options.max_queue) +
                         " requests wait already: try again later, or give the batcher a longer "
                         "queue or the engine more lanes");
  }
  workers_.have_one();
  if (item->deadline) watcher_.note(*item->deadline);
  return queue_.add(item);
}

// Sees to it that a thread looks when a batch is due. Under the lock.
// @return whom to call, better without it; null for nobody.
Batcher::Worker* Batcher::worker_for(Clock::time_point due, Clock::time_point now) {
  if (due <= now) return workers_.another();
  if (due != BatchQueue::kNever) watcher_.note(due);
  return nullptr;
}

// Waits until a batch is due; none once all is done and closed.
std::optional<Batcher::Group> Batcher::claim(Worker& worker) {
  std::unique_lock lock(mutex_);
  while (true) {
    const auto now = Clock::now();
    const auto group = queue_.claim_due(now);
    if (group) ++active_;
    auto* const another = worker_for(queue_.next_due(), now);
    if (group || queue_.is_done()) {
      lock.unlock();
      Workers::call(another);
      return group;
    }
    workers_.rest(worker, lock);
  }
}

BatchQueue::Taken Batcher::take(Group group) {
  const auto now = Clock::now();
  std::unique_lock lock(mutex_);
  auto taken = queue_.take(group, now);
  if (!taken.items.empty()) ++batch_sizes_[taken.rows];
  auto* const worker = worker_for(taken.due, now);
  has_left();
  lock.unlock();
  Workers::call(worker);
  return taken;
}

// Lets threads end when nothing waits any more. Under the lock.
void Batcher::has_left() {
  if (queue_.is_done()) workers_.call_all();
}

void Batcher::work(Worker& worker) {
  while (const auto group = claim(worker)) run(*group);
}

void Batcher::run(Group group) {
  BatchQueue::Taken batch;
  bool is_taken = false;
  const auto taking = [&]() -> const BatchItems& {
    is_taken = true;
    batch = take(group);
    return batch.items;
  };
  Timeline times;
  const auto error = attempt(taking, times);
  if (!is_taken) static_cast<void>(taking());  // there is no lane for it, and will be none
  const BatchItems& items = batch.items;
  {
    const std::scoped_lock lock(mutex_);
    --active_;
    queue_.have_run(batch.rows, Clock::now());
  }
  tell_late(batch.late);
  stats_.executions.fetch_add(items.empty() ? 0 : 1, std::memory_order_relaxed);
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

void Batcher::tell_late(const BatchItems& items) {
  stats_.expired.fetch_add(items.size(), std::memory_order_relaxed);
  if (!items.empty()) tell(items, {}, lateness());
}

bool Batcher::cancel(const Item& item) {
  Worker* worker = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (!queue_.remove(item)) return false;
    stats_.cancelled.fetch_add(1, std::memory_order_relaxed);
    worker = worker_for(queue_.next_due(), Clock::now());  // of fewer rows, fewer are enough
    has_left();
  }
  Workers::call(worker);
  return true;
}

Clock::time_point Batcher::sweep(Clock::time_point now) {
  BatchQueue::Late late;
  Worker* worker = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    late = queue_.remove_late(now);
    worker = worker_for(queue_.next_due(), now);
    has_left();
  }
  Workers::call(worker);
  tell_late(late.items);
  return late.following;
}

std::map<std::int64_t, std::uint64_t> Batcher::batch_sizes() const {
  const std::scoped_lock lock(mutex_);
  return batch_sizes_;
}

std::size_t Batcher::waiting() const {
  const std::scoped_lock lock(mutex_);
  return queue_.waiting();
}

void Batcher::reset_stats() {
  stats_.reset();
  const std::scoped_lock lock(mutex_);
  batch_sizes_.clear();
}

void Batcher::close() {
  if (is_orphan()) return;
  {
    std::unique_lock lock(mutex_);
    queue_.close();
    Workers::call(worker_for(queue_.next_due(), Clock::now()));
    if (queue_.is_done()) workers_.call_all();
    workers_.join(lock);
    own_run_ended_.wait(lock, [this] { return own_runs_ == 0; });
  }
  watcher_.stop();
}

}  // namespace trtfast
