#include "engine/async.h"

#include <algorithm>
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
  std::vector<std::thread> threads;
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    threads.swap(threads_);
  }
  changed_.notify_all();
  for (auto& thread : threads) thread.join();
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
    Outcome outcome;
    try {
      outcome.outputs = run_(call->request, std::move(call->place), call->deadline, call->times);
    } catch (...) {
      outcome.error = std::current_exception();
    }
    call->done(std::move(outcome));
    call.reset();  // what it holds ends without the lock
    lock.lock();
  }
}

}  // namespace trtfast
