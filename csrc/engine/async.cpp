#include "engine/async.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

namespace trtfast {

std::uint64_t AsyncCalls::add(Request request, const std::function<LanePool::Place()>& enter,
                              const Deadline& deadline, Done done) {
  std::uint64_t number = 0;
  {
    const std::scoped_lock lock(mutex_);
    number = next_++;
    waiting_.push_back({number, std::move(request), enter(), deadline, {}, std::move(done)});
    if (waiting_.size() > idle_ && threads_.size() < limit_) {
      threads_.emplace_back([this] { work(); });
    }
  }
  if (deadline) watcher_.note(*deadline);
  changed_.notify_one();
  return number;
}

bool AsyncCalls::cancel(std::uint64_t number) {
  std::list<Call> taken;  // leaves its place in the lanes' queue without this lock
  const std::scoped_lock lock(mutex_);
  const auto found = std::ranges::find(waiting_, number, &Call::number);
  if (found == waiting_.end()) return false;
  taken.splice(taken.begin(), waiting_, found);
  return true;
}

void AsyncCalls::stop() {
  std::list<Call> waiting;
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    waiting.swap(waiting_);
    threads.swap(threads_);
  }
  changed_.notify_all();
  watcher_.stop();
  std::ranges::for_each(waiting, [this](Call& call) { finish(call); });
  for (auto& thread : threads) thread.join();
}

void AsyncCalls::finish(Call& call) {
  Outcome outcome;
  try {
    outcome.outputs = run_(call.request, std::move(call.place), call.deadline, call.times);
  } catch (...) {
    outcome.error = std::current_exception();
  }
  call.done(std::move(outcome));
}

void AsyncCalls::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    ++idle_;
    changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
    --idle_;
    if (waiting_.empty()) return;
    std::optional<Call> call(std::move(waiting_.front()));
    waiting_.pop_front();
    lock.unlock();
    finish(*call);
    call.reset();  // what it holds ends without the lock
    lock.lock();
  }
}

Clock::time_point AsyncCalls::sweep(Clock::time_point now) {
  std::list<Call> late;  // what they hold ends without the lock
  auto next = Clock::time_point::max();
  {
    const std::scoped_lock lock(mutex_);
    for (auto call = waiting_.begin(); call != waiting_.end();) {
      const auto following = std::next(call);
      if (call->deadline && *call->deadline <= now) {
        late.splice(late.end(), waiting_, call);
      } else if (call->deadline) {
        next = std::min(next, *call->deadline);
      }
      call = following;
    }
  }
  std::ranges::for_each(late, [this](Call& call) { finish(call); });
  return next;
}

}  // namespace trtfast
