// Threads that look for something to do: how many there are, and which is called.
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "engine/workers.h"

namespace standin_test {
namespace {

using trtfast::Clock;
using trtfast::Workers;

/// Jobs, and who did them.
class Jobs {
 public:
  using Job = std::function<void()>;

  Jobs(std::size_t most, Clock::duration awake)
      : workers_(most, awake, [this](Workers::Worker& worker) { work(worker); }) {}
  ~Jobs() {
    std::unique_lock lock(mutex_);
    is_closed_ = true;
    workers_.call_all();
    workers_.join(lock);
  }
  Jobs(const Jobs&) = delete;  // threads hold its address
  Jobs& operator=(const Jobs&) = delete;

  void add(Job job) {
    Workers::Worker* worker = nullptr;
    {
      const std::scoped_lock lock(mutex_);
      workers_.have_one();
      jobs_.push_back(std::move(job));
      worker = workers_.another();
    }
    Workers::call(worker);
  }

  /// Waits until so many are done, whose threads rest then or do others.
  std::vector<std::thread::id> done(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_.size() >= count; });
    return done_;
  }

 private:
  void work(Workers::Worker& worker) {
    std::unique_lock lock(mutex_);
    while (!is_closed_) {
      if (jobs_.empty()) {
        workers_.rest(worker, lock);
        continue;
      }
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      Workers::Worker* const worker_of_next = jobs_.empty() ? nullptr : workers_.another();
      lock.unlock();
      Workers::call(worker_of_next);
      job();
      lock.lock();
      done_.push_back(std::this_thread::get_id());
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::vector<std::thread::id> done_;
  bool is_closed_ = false;
  Workers workers_;
};

/// A job that begins, and ends when it may.
struct Gated {
  std::promise<void> begun, may_end;

  Jobs::Job job() {
    return [this] {
      begun.set_value();
      may_end.get_future().wait();
    };
  }
};

class OnWorkers : public testing::TestWithParam<std::chrono::hours> {};  // that one stays awake
INSTANTIATE_TEST_SUITE_P(AsleepAndAwake, OnWorkers,
                         testing::Values(std::chrono::hours(0), std::chrono::hours(1)));

std::size_t threads(const std::vector<std::thread::id>& done) {
  return std::set(done.begin(), done.end()).size();
}

TEST_P(OnWorkers, OneDoesWhatComesOneByOne) {
  Jobs jobs(4, GetParam());
  for (std::size_t job = 0; job < 100; ++job) {
    jobs.add([] {});
    static_cast<void>(jobs.done(job + 1));
  }
  // A second may have been started, before the first had come to rest.
  EXPECT_LE(threads(jobs.done(100)), 2U);
}

TEST_P(OnWorkers, ThereAreAsManyAsAreNeededAtOnce) {
  std::vector<Gated> gated(5);
  Jobs jobs(4, GetParam());
  for (auto& each : gated) jobs.add(each.job());
  for (std::size_t job = 0; job < 4; ++job) gated[job].begun.get_future().wait();
  const auto last = gated[4].begun.get_future();
  EXPECT_EQ(last.wait_for(std::chrono::milliseconds(10)), std::future_status::timeout);
  gated[2].may_end.set_value();
  last.wait();
  for (const std::size_t job : {0U, 1U, 3U, 4U}) gated[job].may_end.set_value();
  EXPECT_EQ(threads(jobs.done(5)), 4U);
}

TEST(Workers, WhoRestsLastIsCalledFirst) {
  std::vector<Gated> gated(3);
  Jobs jobs(3, Clock::duration::zero());
  for (auto& each : gated) jobs.add(each.job());
  for (auto& each : gated) each.begun.get_future().wait();
  std::size_t ended = 0;
  for (const std::size_t job : {1U, 0U, 2U}) {
    gated[job].may_end.set_value();
    static_cast<void>(jobs.done(++ended));
  }
  for (std::size_t job = 4; job < 10; ++job) {
    jobs.add([] {});
    const auto done = jobs.done(job);
    EXPECT_EQ(done.back(), done[2]);
  }
}

}  // namespace
}  // namespace standin_test
