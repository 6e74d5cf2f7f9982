#include "engine/workers.h"

#include <system_error>
#include <utility>

#include "engine/spin.h"

namespace trtfast {

void Workers::have_one() {
  if (workers_.empty()) start();
}

void Workers::start() {
  sleepers_.reserve(workers_.size() + 1);  // so that no thread fails to rest
  Worker& worker = workers_.emplace_back();
  try {
    worker.thread = std::thread([this, &worker] { work_(worker); });
  } catch (...) {
    workers_.pop_back();
    throw;
  }
}

Workers::Worker* Workers::another() {
  if (is_looking_) {
    is_told_.store(true, std::memory_order_release);
    return nullptr;
  }
  if (!sleepers_.empty()) {
    Worker* const worker = sleepers_.back();
    sleepers_.pop_back();
    worker->is_called = true;
    return worker;
  }
  try {
    if (workers_.size() < most_) start();
  } catch (const std::system_error&) {
    return nullptr;  // then there are fewer
  }
  return nullptr;
}

void Workers::call(Worker* worker) noexcept {
  if (worker != nullptr) worker->called.notify_one();
}

void Workers::call_all() noexcept {
  is_told_.store(true, std::memory_order_release);
  for (auto* worker : sleepers_) {
    worker->is_called = true;
    worker->called.notify_one();
  }
  sleepers_.clear();
}

void Workers::rest(Worker& worker, std::unique_lock<std::mutex>& lock) {
  if (!is_looking_ && awake_ > Clock::duration::zero()) {
    is_looking_ = true;
    is_told_.store(false, std::memory_order_relaxed);
    lock.unlock();
    const auto end = Clock::now() + awake_;
    while (!is_told_.load(std::memory_order_acquire) && Clock::now() < end) pause();
    lock.lock();
    is_looking_ = false;
    if (is_told_.load(std::memory_order_relaxed)) return;
  }
  sleepers_.push_back(&worker);
  worker.called.wait(lock, [&] { return std::exchange(worker.is_called, false); });
}

void Workers::join(std::unique_lock<std::mutex>& lock) {
  for (auto& worker : workers_) {  // to which those who have not ended may add
    if (!worker.thread.joinable()) continue;
    std::thread thread = std::move(worker.thread);
    lock.unlock();
    thread.join();
    lock.lock();
  }
}

}  // namespace trtfast
