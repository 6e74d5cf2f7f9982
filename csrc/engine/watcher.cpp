#include "engine/watcher.h"

#include <algorithm>

namespace trtfast {

void Watcher::note(Clock::time_point moment) {
  const std::scoped_lock lock(mutex_);
  if (stopped_ || moment >= next_) return;
  next_ = moment;
  if (thread_.joinable()) {
    changed_.notify_one();
  } else {
    thread_ = std::thread([this] { watch(); });
  }
}

void Watcher::stop() {
  std::thread thread;
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    thread.swap(thread_);
  }
  changed_.notify_one();
  if (thread.joinable()) thread.join();
}

void Watcher::watch() {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const auto now = Clock::now();
    if (next_ <= now) {
      next_ = Clock::time_point::max();
      lock.unlock();
      const auto next = sweep_(now);
      lock.lock();
      next_ = std::min(next_, next);
    } else if (next_ == Clock::time_point::max()) {
      changed_.wait(lock);  // for the largest moment overflows on its way to the system's call
    } else {
      changed_.wait_until(lock, next_);
    }
  }
}

}  // namespace trtfast
